"""Caltech101 (Fei-Fei et al. 2004), https://data.caltech.edu/records/mzrjq-6wc02: 100 object classes, without CoOp's
two ignored folders.
"""

from .core import DATASET_REGISTRY, Reader


@DATASET_REGISTRY.register()
class Caltech101(Reader):
    dataset_dir = "caltech-101"
    image_folder = "101_ObjectCategories"
    split_file = "split_zhou_Caltech101.json"
    folder_names = {"airplanes": "airplane", "Faces": "face", "Leopards": "leopard", "Motorbikes": "motorbike"}
    ignored_folders = ("BACKGROUND_Google", "Faces_easy")
