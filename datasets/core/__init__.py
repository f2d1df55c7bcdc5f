"""What the author of a reader imports. `Reader` leads from a split to lists of Datum; a reader says where its files
lie, and how to make the split where CoOp's split file may be missing.
"""

from dassl.data.datasets import DATASET_REGISTRY

from .files import explained, list_folders, parse_lines, read_lines, read_mat
from .gzsl import GZSL
from .reader import Reader
from .splits import PARTS, Item, Split, check_split, class_names, read_split, split_classes, split_trainval

__all__ = ["DATASET_REGISTRY", "GZSL", "Reader", "explained", "list_folders", "parse_lines", "read_lines", "read_mat"]
__all__ += ["PARTS", "Item", "Split", "check_split", "class_names", "read_split", "split_classes", "split_trainval"]
