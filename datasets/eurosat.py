"""EuroSAT (Helber et al. 2019), https://github.com/phelber/EuroSAT: 10 kinds of land use in satellite images."""

from .core import DATASET_REGISTRY, Reader


@DATASET_REGISTRY.register()
class EuroSAT(Reader):
    dataset_dir = "eurosat"
    image_folder = "2750"
    split_file = "split_zhou_EuroSAT.json"
    folder_names = {
        "AnnualCrop": "Annual Crop Land",
        "HerbaceousVegetation": "Herbaceous Vegetation Land",
        "Highway": "Highway or Road",
        "Industrial": "Industrial Buildings",
        "Pasture": "Pasture Land",
        "PermanentCrop": "Permanent Crop Land",
        "Residential": "Residential Buildings",
        "SeaLake": "Sea or Lake",
    }  # 'Forest' and 'River' stay
