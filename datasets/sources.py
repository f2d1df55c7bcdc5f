"""Where each dataset comes from, what it must contain, and how it is unpacked: the table behind scripts/data.py and DATASETS.md.

MD5 sums are those that torchvision or the dataset's own page publishes; where none is known the field is empty and a download is judged by what it
contains (the split's hash, the number of images). Sizes are approximate.
"""

from dataclasses import dataclass

CROSS_MODAL = "https://raw.githubusercontent.com/linzhiqiu/cross_modal_adaptation/c7e7e68ae4eeadfab98e7886b2d6c9cf48a7ceb5/splits"
PROMPT_LEARNING = "https://huggingface.co/zhengli97/prompt_learning_dataset/resolve/main"
OXFORD = "https://www.robots.ox.ac.uk/~vgg/data"


@dataclass(frozen=True)
class Resource:
    """One download: the file `name` from the first of `urls` that works; `gives` lists what it puts below the root.

    gives: (place below the root, end of a path inside the archive); ('place', '') for a file that is used as it is.
    inner: an archive inside the archive that holds them. split_hash: of a split file, where known.
    """

    name: str
    urls: tuple
    gives: tuple
    size: str = ""
    md5: str = ""
    inner: str = ""
    split_hash: str = ""


@dataclass(frozen=True)
class Source:
    """A dataset: its downloads, a mirror of everything for what they leave missing, and what a complete copy holds."""

    reader: str
    config: str
    homepage: str
    licence: str
    sizes: tuple  # images in train, val and test; for zero-shot sets the test has seen and unseen images
    classes: int
    resources: tuple = ()
    mirror: Resource | None = None
    manual: str = ""  # steps for what must not, or cannot, be automated
    by_hand: tuple = ()  # the places that only those steps give
    note: str = ""

    def places(self):
        """Everything that must be there, relative to the root."""
        downloads = self.resources + ((self.mirror,) if self.mirror else ())
        return list(dict.fromkeys([*self.by_hand, *(place for resource in downloads for place, _ in resource.gives)]))


def coop_split(folder, name, drive_id, split_hash=""):
    """CoOp's split file, from the authors' Google Drive; those of known hash also from a copy in a public repository."""
    file = f"split_zhou_{name}.json"
    urls = (f"gdrive:{drive_id}",) + ((f"{CROSS_MODAL}/{file}",) if split_hash else ())
    return Resource(file, urls, ((f"{folder}/{file}", ""),), split_hash=split_hash)


def mirror(archive, *places):
    """The copy of a dataset, in CoOp's layout, that the authors of PromptKD keep."""
    return Resource(f"mirror-{archive}", (f"{PROMPT_LEARNING}/{archive}",), tuple((place, place.rpartition("/")[2]) for place in places))


FLOWER_FILES = (
    Resource("102flowers.tgz", (f"{OXFORD}/flowers/102/102flowers.tgz",), (("oxford_flowers/jpg", "jpg"),), "345 MB",
             "52808999861908f626f3c1f4e79d11fa"),
    Resource("imagelabels.mat", (f"{OXFORD}/flowers/102/imagelabels.mat",), (("oxford_flowers/imagelabels.mat", ""),), "1 kB",
             "e0620be6f572b9609742df49c70aed4d"),
    Resource("cat_to_name.json", ("gdrive:1AkcxCXeK_RCGCEC_GvmWxjcjaNhu-at0", f"{CROSS_MODAL}/cat_to_name.json"),
             (("oxford_flowers/cat_to_name.json", ""),), "2 kB"),
)

PROPOSED_SPLITS = Resource(
    "xlsa17.zip", ("http://datasets.d2.mpi-inf.mpg.de/xian/xlsa17.zip",),
    (("xlsa17/data/CUB", "data/CUB"), ("xlsa17/data/AWA2", "data/AWA2")), "880 MB")

SOURCES = {source.reader: source for source in (
    Source("ImageNet", "imagenet", "https://image-net.org", "non-commercial research, after registration", (1281167, 0, 50000), 1000,
           manual="1. Register at https://image-net.org and accept its terms; download ILSVRC2012_img_train.tar "
                  "(MD5 1d675b47d978889d74fa0da5fadfb00e) and ILSVRC2012_img_val.tar (MD5 29b22e2961454d5413ddabcf34fc5622).\n"
                  "2. Unpack the first, and each of the 1000 archives in it into a folder of its name: ROOT/imagenet/images/train/n01440764/...\n"
                  "3. Unpack the second and sort its images into class folders: ROOT/imagenet/images/val/n01440764/...\n"
                  "   (the class of each image is in ILSVRC2012_devkit_t12.tar.gz, from the same page).\n"
                  "Links to existing folders will do.",
           by_hand=("imagenet/images/train", "imagenet/images/val"),
           note="The validation images are the test set. CLIP's class names come with this project."),
    Source("Caltech101", "caltech101", "https://data.caltech.edu/records/mzrjq-6wc02", "CC BY 4.0", (4128, 1649, 2465), 100,
           (Resource("caltech-101.zip", ("https://data.caltech.edu/records/mzrjq-6wc02/files/caltech-101.zip",),
                     (("caltech-101/101_ObjectCategories", "101_ObjectCategories"),), "137 MB", "3138e1922a9193bfa496528edbbc45d0",
                     inner="101_ObjectCategories.tar.gz"),
            coop_split("caltech-101", "Caltech101", "1hyarUivQE36mY6jSomru6Fjd-JzwcCzN", "cb0e193bd69a")),
           mirror("caltech-101.zip", "caltech-101/101_ObjectCategories")),
    Source("OxfordPets", "oxford_pets", f"{OXFORD}/pets", "CC BY-SA 4.0", (2944, 736, 3669), 37,
           (Resource("images.tar.gz", (f"{OXFORD}/pets/data/images.tar.gz",), (("oxford_pets/images", "images"),), "792 MB",
                     "5c4f3ee8e5d25df40f4fd59a7f44e54c"),
            coop_split("oxford_pets", "OxfordPets", "1501r8Ber4nNKvmlFVQZ8SeUHTcdTTEqs", "b1f67d4b99e6")),
           mirror("oxford_pets.zip", "oxford_pets/images")),
    Source("StanfordCars", "stanford_cars", "https://ai.stanford.edu/~jkrause/cars/car_dataset.html", "research use, as ImageNet",
           (6509, 1635, 8041), 196,
           (coop_split("stanford_cars", "StanfordCars", "1ObCFbaAgVu0I-k_Au-gIUcefirdAuizT", "dfe736f7b931"),),
           mirror("stanford_cars.zip", "stanford_cars/cars_train", "stanford_cars/cars_test"),
           manual="The images are also on Kaggle (jessicali9530/stanford-cars-dataset, with an account): put its folders of .jpg files at "
                  "ROOT/stanford_cars/cars_train and ROOT/stanford_cars/cars_test.",
           note="The authors' page and its downloads are gone (since 2023)."),
    Source("OxfordFlowers", "oxford_flowers", f"{OXFORD}/flowers/102", "research use", (4093, 1633, 2463), 102,
           (*FLOWER_FILES, coop_split("oxford_flowers", "OxfordFlowers", "1Pp0sRXzZFZq15zVOzKjKBu4A9i01nozT", "3e0c54f6848d")),
           mirror("oxford_flowers.zip", "oxford_flowers/jpg")),
    Source("Food101", "food101", "https://data.vision.ee.ethz.ch/cvl/datasets_extra/food-101", "research use (images from Foodspotting)",
           (50500, 20200, 30300), 101,
           (Resource("food-101.tar.gz", ("http://data.vision.ee.ethz.ch/cvl/food-101.tar.gz",), (("food-101/images", "food-101/images"),),
                     "5.0 GB", "85eeb15f3717b99a5da872d97d918f87"),
            coop_split("food-101", "Food101", "1QK0tGi096I0Ba6kggatX1ee6dJFIcEJl")),
           mirror("food101.zip", "food-101/images", "food-101/split_zhou_Food101.json")),
    Source("FGVCAircraft", "fgvc_aircraft", f"{OXFORD}/fgvc-aircraft", "non-commercial research", (3334, 3333, 3333), 100,
           (Resource("fgvc-aircraft-2013b.tar.gz", (f"{OXFORD}/fgvc-aircraft/archives/fgvc-aircraft-2013b.tar.gz",),
                     tuple((f"fgvc_aircraft/{name}", f"data/{name}") for name in
                           ("images", "variants.txt", *(f"images_variant_{part}.txt" for part in ("train", "val", "test")))),
                     "2.8 GB", "d4acdd33327262359767eeaa97a4f732"),),
           mirror("fgvc_aircraft.zip", "fgvc_aircraft/images", "fgvc_aircraft/variants.txt",
                  *(f"fgvc_aircraft/images_variant_{part}.txt" for part in ("train", "val", "test")))),
    Source("SUN397", "sun397", "https://vision.princeton.edu/projects/2010/SUN", "research use", (15880, 3970, 19850), 397,
           (Resource("SUN397.tar.gz", ("https://huggingface.co/zhengli97/SUN397_Dataset/resolve/main/SUN397.tar.gz",),
                     (("sun397/SUN397", "SUN397"),), "39 GB", "8ca2778205c41d23104230ba66911c7a"),
            coop_split("sun397", "SUN397", "1y2RD81BYuiyvebdN-JymPfyWYcd8_MUq")),
           mirror("sun397.zip", "sun397/SUN397", "sun397/split_zhou_SUN397.json"),
           note="The authors' downloads are gone (since 2025); the first source is a copy that must have the same MD5 sum."),
    Source("DescribableTextures", "dtd", f"{OXFORD}/dtd", "research use", (2820, 1128, 1692), 47,
           (Resource("dtd-r1.0.1.tar.gz", (f"{OXFORD}/dtd/download/dtd-r1.0.1.tar.gz",), (("dtd/images", "dtd/images"),), "625 MB",
                     "fff73e5086ae6bdbea199a49dfb8a4c1"),
            coop_split("dtd", "DescribableTextures", "1u3_QfB467jqHgNXC00UIzbLZRQCg2S7x", "038c759d3209")),
           mirror("dtd.zip", "dtd/images")),
    Source("EuroSAT", "eurosat", "https://github.com/phelber/EuroSAT", "MIT", (13500, 5400, 8100), 10,
           (Resource("EuroSAT.zip", ("https://madm.dfki.de/files/sentinel/EuroSAT.zip",
                                     "https://huggingface.co/datasets/torchgeo/eurosat/resolve/c877bcd43f099cd0196738f714544e355477f3fd/EuroSAT.zip"),
                     (("eurosat/2750", "2750"),), "94 MB", "c8fa014336c82ac7804f0398fcb19387"),
            coop_split("eurosat", "EuroSAT", "1Ip7yaCWFi0eaOFUGga0lUdVi_DDQth1o", "7f5d4f79bba4")),
           mirror("eurosat.zip", "eurosat/2750")),
    Source("UCF101", "ucf101", "https://www.crcv.ucf.edu/data/UCF101.php", "research use", (7639, 1898, 3783), 101,
           (Resource("UCF-101-midframes.zip", ("gdrive:10Jqome3vtUA2keJkNanAiFpgbyC9Hc2O",),
                     (("ucf101/UCF-101-midframes", "UCF-101-midframes"),)),
            coop_split("ucf101", "UCF101", "1I0S0q91hJfsV9Gf4xDIjgDq4AqBNJb1y", "875b6350cc32")),
           mirror("ucf101.zip", "ucf101/UCF-101-midframes"),
           note="The middle frame of each video, as CoOp's authors extracted them."),
    Source("ImageNetV2", "imagenetv2", "https://github.com/modestyachts/ImageNetV2", "MIT", (0, 0, 10000), 1000,
           (Resource("imagenetv2-matched-frequency.tar.gz",
                     ("https://huggingface.co/datasets/vaishaal/ImageNetV2/resolve/main/imagenetv2-matched-frequency.tar.gz",
                      "https://imagenetv2public.s3-us-west-2.amazonaws.com/imagenetv2-matched-frequency.tar.gz"),
                     (("imagenetv2/imagenetv2-matched-frequency-format-val", "imagenetv2-matched-frequency-format-val"),), "1.3 GB"),),
           mirror("imagenetv2.zip", "imagenetv2/imagenetv2-matched-frequency-format-val")),
    Source("ImageNetSketch", "imagenet_sketch", "https://github.com/HaohanWang/ImageNet-Sketch", "MIT (collected from web searches)",
           (0, 0, 50889), 1000,
           (Resource("ImageNet-Sketch.zip", ("gdrive:1Mj0i5HBthqH1p_yeXzsg22gZduvgoNeA",
                                             "https://huggingface.co/datasets/songweig/imagenet_sketch/resolve/main/data/ImageNet-Sketch.zip"),
                     (("imagenet-sketch/images", "sketch"),), "7.8 GB"),),
           mirror("imagenet-sketch.zip", "imagenet-sketch/images")),
    Source("ImageNetA", "imagenet_a", "https://github.com/hendrycks/natural-adv-examples", "MIT", (0, 0, 7500), 200,
           (Resource("imagenet-a.tar", ("https://people.eecs.berkeley.edu/~hendrycks/imagenet-a.tar",),
                     (("imagenet-adversarial/imagenet-a", "imagenet-a"),), "0.7 GB", "c3e55429088dc681f30d81f4726b6595"),),
           mirror("imagenet-adversarial.zip", "imagenet-adversarial/imagenet-a")),
    Source("ImageNetR", "imagenet_r", "https://github.com/hendrycks/imagenet-r", "MIT", (0, 0, 30000), 200,
           (Resource("imagenet-r.tar", ("https://people.eecs.berkeley.edu/~hendrycks/imagenet-r.tar",),
                     (("imagenet-rendition/imagenet-r", "imagenet-r"),), "2.2 GB", "a61312130a589d0ca1a8fca1f2bd3337"),),
           mirror("imagenet-rendition.zip", "imagenet-rendition/imagenet-r")),
    Source("CUB", "cub", "https://data.caltech.edu/records/65de6-vp158", "non-commercial research", (7057, 0, 1764 + 2967), 200,
           (Resource("CUB_200_2011.tgz", ("https://data.caltech.edu/records/65de6-vp158/files/CUB_200_2011.tgz",),
                     (("CUB_200_2011/images", "CUB_200_2011/images"), ("CUB_200_2011/images.txt", "CUB_200_2011/images.txt")), "1.2 GB",
                     "97eceeb196236b17998738112f37df78"),
            PROPOSED_SPLITS), note="Zero-shot learning: 150 seen and 50 unseen classes."),
    Source("AWA2", "awa2", "https://cvml.ista.ac.at/AwA2", "free for use (Creative Commons images)", (23527, 0, 5882 + 7913), 50,
           (Resource("AwA2-data.zip", ("https://cvml.ista.ac.at/AwA2/AwA2-data.zip",),
                     (("Animals_with_Attributes2/JPEGImages", "Animals_with_Attributes2/JPEGImages"),), "13 GB"),
            PROPOSED_SPLITS), note="Zero-shot learning: 40 seen and 10 unseen classes."),
    Source("FLO", "flo", f"{OXFORD}/flowers/102", "research use", (5631, 0, 1403 + 1155), 102,
           (*FLOWER_FILES,
            Resource("setid.mat", (f"{OXFORD}/flowers/102/setid.mat",), (("oxford_flowers/setid.mat", ""),), "15 kB",
                     "a5357ecc9cb78c4bef273ce3793fc85c"),
            Resource("cvpr18xian.zip", ("http://datasets.d2.mpi-inf.mpg.de/xian/cvpr18xian.zip",), (("xlsa17/data/FLO", "data/FLO"),))),
           note="Zero-shot learning: 82 seen and 20 unseen classes, on the images of OxfordFlowers."),
)}
