"""Packages whose names are imported when they are first asked for (PEP 562), so that the light ones need no PyTorch."""

import importlib


def attach(package, names_of):
    """(`__getattr__`, `__all__`) of the module `package`; names_of: {module below it: the names that it gives}."""
    module_of = {name: module for module, names in names_of.items() for name in names}

    def find(name):
        if name in names_of:
            return importlib.import_module(f"{package}.{name}")
        if name not in module_of:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(importlib.import_module(f"{package}.{module_of[name]}"), name)

    return find, sorted(module_of)
