"""What the author of a reader imports. `Reader` leads from a split to lists of Datum; a reader says where its files
lie, and how to make the split where CoOp's split file may be missing.
"""

from dassl.data.datasets import DATASET_REGISTRY

from .gzsl import GZSL
from .reader import Reader, list_folders
from .splits import PARTS, Item, Split, class_names, split_classes

__all__ = ["DATASET_REGISTRY", "GZSL", "PARTS", "Item", "Reader", "Split", "class_names", "list_folders"]
__all__ += ["split_classes"]
