"""The pickles in which CoOp's readers keep their few-shot draws: split_fewshot/shot_<k>-seed_<s>.pkl."""

import pickle

from ...utils import UserError, atomic_path, check_regular
from .base_dataset import Datum


class FewshotUnpickler(pickle.Unpickler):
    """Admits Datum alone; lists, dicts, strings and numbers need no class."""

    def __init__(self, file):
        super().__init__(file)
        # Not Datum itself: a pickle may set attributes of the class that it is given.
        self.item_class = type("Item", (), {})

    def find_class(self, module, name):
        if (module, name) == (Datum.__module__, Datum.__qualname__):
            return self.item_class
        raise UserError(f"it names {module}.{name}, only Datum and plain containers are admitted")


def read_fewshot(path):
    """{"train": [Datum], "val": [Datum]} from a few-shot pickle, without running any code it may hold.

    A pickle without "val" (CoOp's ImageNet) gives an empty list. MissingFile or UserError, each with the path and the
    reason.
    """
    check_regular(path, "a few-shot pickle")
    try:
        with open(path, "rb") as file:
            data = FewshotUnpickler(file).load()
    except Exception as error:  # a damaged pickle can raise nearly anything
        reason = str(error) or type(error).__name__
        raise UserError(f"few-shot pickle {path} is refused: {reason}; remove it to draw anew") from None
    if not isinstance(data, dict) or "train" not in data:
        raise UserError(
            f'few-shot pickle {path} is refused: expected a dict with "train" and "val"; remove it to draw anew'
        )
    return {part: _rebuilt(data.get(part, []), path, part) for part in ("train", "val")}


def write_fewshot(path, train, val):
    """Write the pickle that read_fewshot and CoOp's own readers read, atomically."""
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        pickle.dump({"train": train, "val": val}, file, protocol=pickle.HIGHEST_PROTOCOL)


def _rebuilt(items, path, part):
    """The items as Datum, through Datum's own checks, as a pickle can set attributes to anything."""
    try:
        return [Datum(item._impath, item._label, item._domain, item._classname) for item in items]
    except (AttributeError, TypeError, UserError) as error:
        reason = f'"{part}" is no list of Datum ({error})'
        raise UserError(f"few-shot pickle {path} is refused: {reason}; remove it to draw anew") from None
