"""Every data set of the papers' tables in miniature, below one root, in the on-disk form that its users have.

Five classes of eight images where CoOp publishes the split: three to train on, two to validate, three to test.
"""

from . import trees

TABLE1 = (
    "imagenet caltech101 oxford_pets stanford_cars oxford_flowers food101 fgvc_aircraft sun397 dtd eurosat ucf101"
).split()
DOMAINS = "imagenetv2 imagenet_sketch imagenet_a imagenet_r".split()  # the targets of domain generalization
GZSL = "cub awa2 flo".split()  # with the Proposed Splits
PHOTOS = "imagefolder"  # a folder of images for each part and class, which a run is given as its root

PARTS = {"train": 3, "val": 2, "test": 3}  # images of a class


def same(names):
    """{folder: class name} where they are equal."""
    return {name: name for name in names.split()}


def numbered(*names):
    """The same for layouts whose folders do not name the class."""
    return {str(number): name for number, name in enumerate(names)}


CALTECH = {"Faces": "face", "Leopards": "leopard", "Motorbikes": "motorbike", **same("accordion grand_piano")}
PETS = {"Abyssinian": "abyssinian", "Bengal": "bengal", "Birman": "birman", **same("american_bulldog pug")}
CARS = ("2000 AM General Hummer SUV", "2012 Acura RL Sedan", "2008 Acura TL Type-S", "2009 BMW X3", "2012 Ram C/V Van")
FLOWERS = ("pink primrose", "hard-leaved pocket orchid", "canterbury bells", "sweet pea", "colt's foot")
FOODS = same("apple_pie baby_back_ribs baklava beef_carpaccio waffles")
SCENES = {"a/abbey": "abbey", "a/airplane_cabin": "airplane_cabin", "a/apse/indoor": "indoor apse"}
SCENES |= {"a/athletic_field/outdoor": "outdoor athletic_field", "y/youth_hostel": "youth_hostel"}
TEXTURES = same("banded blotchy braided polka-dotted zigzagged")
LAND = {"AnnualCrop": "Annual Crop Land", "HerbaceousVegetation": "Herbaceous Vegetation Land"}
LAND |= {"SeaLake": "Sea or Lake", **same("Forest River")}
ACTIONS = same("Apply_Eye_Makeup Apply_Lipstick Archery Baby_Crawling Handstand_Pushups")
# {data set: (its folder, that of the images, the split file's end, the path of an image, {folder: name})}; in a path
# `n` counts images, and `i` those of a class
COOP = {
    "caltech101": ("caltech-101", "101_ObjectCategories", "Caltech101", "{folder}/image_{i:04d}.jpg", CALTECH),
    "oxford_pets": ("oxford_pets", "images", "OxfordPets", "{folder}_{i}.jpg", PETS),
    "stanford_cars": ("stanford_cars", "", "StanfordCars", "cars_{half}/{n:05d}.jpg", numbered(*CARS)),
    "oxford_flowers": ("oxford_flowers", "jpg", "OxfordFlowers", "image_{n:05d}.jpg", numbered(*FLOWERS)),
    "food101": ("food-101", "images", "Food101", "{folder}/{n}.jpg", FOODS),
    "sun397": ("sun397", "SUN397", "SUN397", "{folder}/sun_{n}.jpg", SCENES),
    "dtd": ("dtd", "images", "DescribableTextures", "{folder}/{folder}_{i:04d}.jpg", TEXTURES),
    "eurosat": ("eurosat", "2750", "EuroSAT", "{folder}/{folder}_{i}.jpg", LAND),
    "ucf101": ("ucf101", "UCF-101-midframes", "UCF101", "{folder}/v_{joined}_g{i:02d}_c01.jpg", ACTIONS),
}
WNIDS = ["n01440764", "n01443537", "n01484850", "n01491361", "n01494475"]
WORDS = ["tench", "goldfish", "great white shark", "tiger shark", "hammerhead shark"]
VARIANTS = ["707-320", "727-200", "737-200", "A300B4", "F/A-18"]
BIRDS = [f"00{i}.{name}" for i, name in enumerate(("Albatross", "Sooty_Albatross", "Ani", "Auklet", "Bobolink"), 1)]
ANIMALS = ["antelope", "bat", "beaver", "grizzly+bear", "zebra"]
PETS_AT_HOME = "bird cat dog fish hamster lizard pony rabbit".split()


def build_all(root):
    """All of TABLE1, DOMAINS, GZSL and PHOTOS below the empty folder `root`. -> root"""
    for folder, images, end, path, names in COOP.values():
        trees.add_coop_split(root, folder, images, f"split_zhou_{end}.json", coop_split(path, names))
    trees.add_aircraft(root, VARIANTS, per_part=3)
    trees.add_imagenet(root, WNIDS, train=7, val=3)
    _domains(root)
    _proposed_splits(root)
    for part, size in PARTS.items():
        for name in PETS_AT_HOME:
            trees.add_images(root / PHOTOS / part / name, [f"{part}_{i}.jpg" for i in range(size)])
    return root


def coop_split(path, names):
    """{"train": [[path, label, class name], ...], ...}, as CoOp's split_zhou_*.json have it."""
    split, n, counts = {part: [] for part in PARTS}, 0, dict.fromkeys(names, 0)
    for part, size in PARTS.items():
        half = "test" if part == "test" else "train"
        for label, (folder, name) in enumerate(names.items()):
            for _ in range(size):
                n, counts[folder] = n + 1, counts[folder] + 1
                file = path.format(folder=folder, joined=folder.replace("_", ""), half=half, n=n, i=counts[folder])
                split[part].append([file, label, name])
    return split


def _domains(root):
    for folder in trees.IMAGENET_VARIANTS.values():
        for wnid in WNIDS[1:]:  # of some classes only
            trees.add_images(root / folder / wnid, [f"{wnid}_{i}.jpg" for i in range(3)])
    for label in range(len(WNIDS)):
        trees.add_images(root / trees.IMAGENET_V2 / str(label), [f"{label}_{i}.jpeg" for i in range(3)])
    # all 1000 names would need 1000 folders
    lines = [f"{wnid} {words}" for wnid, words in zip(WNIDS, WORDS, strict=True)]
    (root / "imagenetv2" / "classnames.txt").write_text("\n".join(lines) + "\n")


def _proposed_splits(root):
    """Three classes seen and two unseen; five images each of CUB and AWA2."""
    ones = {"trainval": [1, 2, 3, 6, 7, 8, 11, 12, 13], "test_seen": [4, 5, 9, 10, 14, 15]}
    ones["test_unseen"] = list(range(16, 26))
    trees.add_cub(root, BIRDS, per_class=5)
    trees.add_awa2(root, [f"{animal}/{animal}_{10001 + i}.jpg" for animal in ANIMALS for i in range(5)])
    for name in ("CUB", "AWA2"):
        trees.add_proposed_splits(root, name, **ones)
    _, _, _, path, names = COOP["oxford_flowers"]
    items = sorted(item for part in coop_split(path, names).values() for item in part)
    trees.add_flowers(root, [label + 1 for _, label, _ in items], {str(int(k) + 1): v for k, v in names.items()})
    numbers = {label: [i + 1 for i, item in enumerate(items) if item[1] == label] for label in range(len(names))}
    order = [number for label in numbers for number in numbers[label]]  # by class
    trees.add_flo(root, order[:10], order[10:20], order[20:])
    place = {number: i + 1 for i, number in enumerate(order)}
    seen = [place[number] for label in (0, 1, 2) for number in numbers[label]]
    trees.add_proposed_splits(root, "FLO", seen[::2], seen[1::2], [p for p in place.values() if p not in seen])
