"""Makes a feature bank of features that were computed elsewhere, without the images: only the dataset's split is read.

    python scripts/convert_bank.py features.safetensors --root DATA --dataset flo --out flo_miniclip.safetensors

The file holds `features` [N, d] and, in its header, `images`: a JSON list of the N images' paths below the dataset's
image folder. Where it has `labels` [N] they must group the images as the split does (their numbers may differ); where
its header has `backbone_sha256` that must be the hash of the backbone's weights. Each image gets one view.
"""

import argparse
import json

import _path  # noqa: F401
import torch
from dassl.data.datasets import DATASET_REGISTRY
from dassl.utils import UserError
from lib.console import bank_header, dataset_config
from lib.faults import say_errors
from safetensors import SafetensorError, safe_open
from trainers.core.features.bank import write_bank

from datasets.core.splits import PARTS
from trainers.core.model.backbone import load_backbone


def parse_args(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("features", help="safetensors file with the features")
    parser.add_argument("--root", required=True, help="folder that holds the dataset's split files, as for train.py")
    parser.add_argument("--dataset", required=True, help="its config: a file, or a name in configs/datasets/")
    parser.add_argument("--backbone", default="MiniCLIP", help="what the features were made with")
    parser.add_argument("--out", required=True, help="the bank to write")
    parser.add_argument("--note", default="", help="kept in the header: source, licence, whether reduced")
    return parser.parse_args(argv)


def read_features(path):
    """-> features [N, d], labels [N] or None, image paths, header. Raises UserError."""
    try:
        with safe_open(path, framework="pt") as file:
            header, names = file.metadata() or {}, set(file.keys())
            features = file.get_tensor("features")
            labels = file.get_tensor("labels").tolist() if "labels" in names else None
        images = json.loads(header["images"])
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise UserError(
            f"{path}: expected safetensors with a tensor 'features' and a JSON list 'images' in the header: {error}"
        ) from None
    counts = {len(features), len(images), len(set(images)), len(labels or images)}
    if features.dim() != 2 or len(counts) > 1:
        raise UserError(
            f"{path}: features {list(features.shape)} and labels must have a row for each of the {len(images)} images, "
            "each named once"
        )
    if not torch.allclose(features.float().norm(dim=1), torch.ones(len(features)), atol=1e-2):
        raise UserError(f"{path}: the features must have unit norm")
    return features, labels, images, header


def rows_of(split, images, labels):
    """{part: row of each of its images}. Raises UserError for an image without features, or labels that group the
    images in another way."""
    row = {image: i for i, image in enumerate(images)}
    missing = [item.path for item in split.items() if item.path not in row]
    if missing:
        raise UserError(f"{len(missing)} images of the split have no features, first {', '.join(missing[:5])}")
    pairs = {(item.label, labels[row[item.path]]) for item in split.items()} if labels else set()
    if any(len(set(side)) != len(pairs) for side in zip(*pairs)):
        raise UserError(
            "the labels of the features group the images in another way than the split does: "
            "the images may be in another order"
        )
    return {part: [row[item.path] for item in getattr(split, part)] for part in PARTS}


def main(argv=None):
    args = parse_args(argv)
    cfg = dataset_config(args.dataset, args.backbone)
    features, labels, images, header = read_features(args.features)
    backbone = load_backbone(cfg)
    if header.get("backbone_sha256", backbone.weights_hash) != backbone.weights_hash:
        raise UserError(
            f"{args.features} was made with weights {header['backbone_sha256'][:12]}, "
            f"{backbone.name} has {backbone.weights_hash[:12]}"
        )
    split = DATASET_REGISTRY.get(cfg.DATASET.NAME).examine(args.root, images=False)
    rows = rows_of(split, images, labels)
    tensors = {f"{part}.features": features[rows[part]].half() for part in PARTS}
    tensors["train.offsets"] = torch.arange(len(split.train) + 1)
    note = args.note or header.get("what", "")
    write_bank(args.out, tensors, bank_header(cfg, backbone, split._asdict(), note, preprocess={}, transforms={}))
    print(f"{args.out}: {len(split.train)} training, {len(split.val)} validation, {len(split.test)} test images")


if __name__ == "__main__":
    say_errors(main)
