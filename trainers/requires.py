"""Packages that the trainers import and that the requirements of CoOp and Dassl do not bring.

Imported before anything else here, and without our other modules, so that a missing one is named in one line. MiniCLIP
alone needs timm, and says so itself.
"""

import importlib

NEEDED = ("safetensors",)  # import names, which are also what pip installs


def check(packages):
    """Raises ImportError, which says what to install, where some of `packages` cannot be imported."""
    reasons = {}
    for package in packages:
        try:
            importlib.import_module(package)
        except ImportError as error:
            reasons[package] = str(error)
    if reasons:  # raised out here, so that no second traceback precedes the line
        raise ImportError(
            f"{__package__} needs {' and '.join(reasons)} ({'; '.join(reasons.values())}), which the requirements of "
            f"CoOp and Dassl do not bring: pip install {' '.join(reasons)}",
            name=next(iter(reasons)),
        )


check(NEEDED)
