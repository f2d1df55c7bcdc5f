"""The pickles in which CoOp's readers keep their few-shot draws: split_fewshot/shot_<k>-seed_<s>.pkl."""

import pickle

from ...utils import MissingFile, UserError, atomic_path
from .base_dataset import Datum

_DATUM = (Datum.__module__, Datum.__qualname__)


class FewshotUnpickler(pickle.Unpickler):
    """Admits Datum; lists, dicts, strings and numbers need no class."""

    def find_class(self, module, name):
        if (module, name) == _DATUM:
            return Datum
        raise UserError(f"it names {module}.{name}, only Datum and plain containers are admitted")


def read_fewshot(path):
    """{"train": [Datum], "val": [Datum]} from a few-shot pickle, without running any code it may hold.

    MissingFile or UserError, each with the path and the reason.
    """
    try:
        with open(path, "rb") as file:
            data = FewshotUnpickler(file).load()
    except FileNotFoundError:
        raise MissingFile(f"expected a few-shot pickle at {path}, found none") from None
    except Exception as error:  # a damaged pickle can raise nearly anything
        raise UserError(f"few-shot pickle {path} is refused: {error or type(error).__name__}") from None
    if not isinstance(data, dict) or not {"train", "val"} <= data.keys():
        raise UserError(f'few-shot pickle {path} is refused: expected a dict with "train" and "val"')
    return {part: _checked(data[part], path, part) for part in ("train", "val")}


def write_fewshot(path, train, val):
    """Write the pickle that read_fewshot and CoOp's own readers read, atomically."""
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        pickle.dump({"train": train, "val": val}, file, protocol=pickle.HIGHEST_PROTOCOL)


def _checked(items, path, part):
    """`items` rebuilt through Datum's own checks, as a pickle can set attributes of any type."""
    try:
        return [Datum(item._impath, item._label, item._domain, item._classname) for item in items]
    except (AttributeError, TypeError, UserError) as error:
        raise UserError(f"few-shot pickle {path} is refused: {part} is no list of Datum ({error})") from None
