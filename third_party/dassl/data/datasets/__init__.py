from .base_dataset import DatasetBase, Datum
from .build import DATASET_REGISTRY, build_dataset
from .fewshot import read_fewshot, write_fewshot

__all__ = ["DATASET_REGISTRY", "DatasetBase", "Datum", "build_dataset", "read_fewshot", "write_fewshot"]
