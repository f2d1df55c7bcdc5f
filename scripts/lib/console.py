"""What scripts share: images, lists, data sets and runs that users name at the command line; the header of a bank."""

import argparse
import json
import os
from collections.abc import Callable

from dassl.config import get_cfg_default

import trainers
from trainers.core.files import UserError
from trainers.core.folders import list_images
from trainers.generative.build import load_framework

from .runs import ROOT

OPTS = "KEY VALUE pairs over the run's configuration, such as FEATURES.BANK FILE"


def at_least(least: int) -> Callable[[str], int]:
    """The type, for argparse, of a whole number that is at least this."""

    def number(text):
        if int(text) < least:
            raise argparse.ArgumentTypeError(f"it must be at least {least}, found {text}")
        return int(text)

    return number


def image_files(places: list[str]) -> list[str]:
    """Image files: those named, and those below folders that are named, sorted, without hidden ones. Raises UserError
    for one that is not there."""
    files = []
    for place in places:
        below = [os.path.join(place, name) for name in list_images(place)] if os.path.isdir(place) else [place]
        if not below:
            raise UserError(f"no image that Pillow reads in the folder {place}")
        files += below
    missing = [file for file in files if not os.path.isfile(file)]
    if missing:
        raise UserError(f"{len(missing)} of the images are missing or no files, first {', '.join(missing[:5])}")
    return files


def framework_of(folder, cfg, backbone, device):
    """-> (framework, history) of a run's generator: in its own folder, or where TRAINER.SHIP.INIT_FROM took it from."""
    own, options = os.path.join(folder, "generator"), cfg.TRAINER.SHIP
    place = own if os.path.isdir(own) or not options.INIT_FROM else options.INIT_FROM
    framework, _, history = load_framework(place, options, backbone, device)
    return framework, history


def dataset_config(dataset, backbone):
    """The configuration with a data set's on top, which is a file, or a name in configs/datasets/."""
    cfg = get_cfg_default()
    trainers.extend_cfg(cfg)
    named = ROOT / "configs" / "datasets" / f"{dataset}.yaml"
    cfg.merge_from_file(str(named) if named.exists() else dataset)
    cfg.MODEL.BACKBONE.NAME = backbone
    return cfg


def bank_header(cfg, backbone, split, note, preprocess, transforms, views=1, seed=0):
    """What the header of a feature bank says, as write_bank takes it."""
    return {
        "dataset": cfg.DATASET.NAME,
        "backbone": backbone.name,
        "backbone_hash": backbone.weights_hash,
        "split": json.dumps(split),
        "preprocess": json.dumps(preprocess),
        "transforms": json.dumps(transforms),
        "views": str(views),
        "features_seed": str(seed),
        "note": note,
    }
