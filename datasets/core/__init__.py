"""What the author of a reader imports. `Reader` leads from a split to lists of Datum; a reader says where its files
lie, and how to make the split where CoOp's split file may be missing.
"""

from .files import explained, list_folders, parse_lines, read_lines, read_mat
from .gzsl import GZSL
from .reader import Reader, first_five
from .splits import PARTS, Item, Split, check_split, class_names, read_split, split_classes, split_trainval

__all__ = [
    "GZSL",
    "PARTS",
    "Item",
    "Reader",
    "Split",
    "check_split",
    "class_names",
    "explained",
    "first_five",
    "list_folders",
    "parse_lines",
    "read_lines",
    "read_mat",
    "read_split",
    "split_classes",
    "split_trainval",
]
