"""What the author of a method or a plug-in imports. Each name is loaded when it is first asked for."""

import importlib

WHERE = {
    "ClassesUnsupported": ".files",
    "FeatureTrainer": ".trainer",
    "Plugin": ".plugin",
    "PromptHead": ".heads",
    "PromptTrainer": ".trainer",
    "Range": ".config",
    "RowHead": ".heads",
    "UserError": ".files",
    "ZeroshotHead": ".heads",
    "encode_classes": ".model.prompts",
    "register": ".registry",
}
__all__ = [*WHERE]


def __getattr__(name):
    if name not in WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(WHERE[name], __name__), name)
