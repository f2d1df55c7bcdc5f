"""A tiny feature bank that every trainer can run on: few classes, MiniCLIP's dimension, features near the classes' text
features."""

import torch
import torch.nn.functional as F

NAMES = ["dog", "cat", "airplane", "grand_piano", "sunflower", "pizza", "umbrella"]


def make_split(names=NAMES, train=6, val=5, test=4, unseen=0):
    """A split in the form of CoOp's json files; the last `unseen` classes have test images only."""

    def part(kind, count, classes):
        return [
            [f"{name}/{kind}_{i}.jpg", label, name] for label, name in enumerate(names[:classes]) for i in range(count)
        ]

    seen = len(names) - unseen
    return {"train": part("train", train, seen), "val": part("val", val, seen), "test": part("test", test, len(names))}


def make_bank(path, backbone, names=NAMES, views=2, dataset="Caltech101", noise=1.5, **counts):
    """Writes a bank of random features around the text features of `names`; the first training image has a single view.
    -> path"""
    from trainers.core.bank import write_bank
    from trainers.core.model.prompts import encode_texts, fill

    split = make_split(names, **counts)
    centres = encode_texts(backbone, fill("a photo of a {}.", names)).float()
    draw = torch.Generator().manual_seed(0)

    def features(labels):
        drawn = torch.randn(len(labels), backbone.embed_dim, generator=draw) / backbone.embed_dim**0.5
        return F.normalize(centres[labels] + noise * drawn, dim=-1).half()

    counts = torch.tensor([0, 1] + [views] * (len(split["train"]) - 1))
    labels = torch.tensor([item[1] for item in split["train"]]).repeat_interleave(counts[1:])
    tensors = {"train.features": features(labels), "train.offsets": counts.cumsum(0)}
    for name in ("val", "test"):
        tensors[f"{name}.features"] = features(torch.tensor([item[1] for item in split[name]], dtype=torch.long))
    write_bank(
        path,
        tensors,
        {
            "dataset": dataset,
            "backbone": backbone.name,
            "backbone_hash": backbone.weights_hash,
            "split": split,
            "preprocess": "{}",
            "transforms": "{}",
            "views": str(views),
            "features_seed": "0",
            "note": "random, for tests",
        },
    )
    return path


def features_of(bank, part="test"):
    """Features [N, d] and labels [N] of a part of a bank; of training images the first view."""
    from helpers.banks import read_bank

    tensors, header = read_bank(bank)
    features = tensors[f"{part}.features"].float()
    if part == "train":
        features = features[tensors["train.offsets"][:-1]]
    return features, torch.tensor([label for _, label, _ in header["split"][part]])


def accuracy(predicted, labels):
    """In percent."""
    return (predicted == labels).double().mean().item() * 100


def poison(bank, path, hidden):
    """A copy of `bank` whose features of the images with hidden(part, label) are not numbers: whoever reads them gets
    NaN losses. -> path"""
    from helpers.banks import read_bank

    from trainers.core.bank import write_bank

    tensors, header = read_bank(bank)
    for part, items in header["split"].items():
        rows = torch.tensor([hidden(part, item[1]) for item in items], dtype=torch.bool)
        if part == "train":
            rows = rows.repeat_interleave(tensors["train.offsets"].diff())
        tensors[f"{part}.features"][rows] = float("nan")
    write_bank(path, tensors, header)
    return path
