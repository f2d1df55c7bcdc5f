"""What the author of a reader imports. `Reader` leads from a split to lists of Datum; a reader says where its files
lie, and how to make the split where CoOp's split file may be missing.
"""

from .files import explained, list_folders, parse_lines, read_lines, read_mat
from .gzsl import GZSL
from .reader import Reader
from .splits import PARTS, Item, Split, class_names, split_classes, split_trainval

__all__ = [
    "GZSL",
    "PARTS",
    "Item",
    "Reader",
    "Split",
    "class_names",
    "explained",
    "list_folders",
    "parse_lines",
    "read_lines",
    "read_mat",
    "split_classes",
    "split_trainval",
]
