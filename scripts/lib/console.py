"""What scripts share: images, lists, data sets and runs that users name at the command line; the header of a bank."""

import json
import os

from dassl.config import get_cfg_default
from dassl.utils import UserError, read_text
from trainers.ship.model import load_framework

import trainers
from datasets.core.files import IMAGE_SUFFIXES

from .run import ROOT

OPTS = "KEY VALUE pairs over the run's configuration, such as FEATURES.BANK FILE"


def image_files(places: list[str]) -> list[str]:
    """Image files: those named, and those below folders that are named, sorted. Raises UserError for one that is not
    there."""
    found = []
    for place in places:
        if os.path.isdir(place):
            below = [os.path.join(folder, name) for folder, _, names in os.walk(place) for name in names]
            images = sorted(path for path in below if path.lower().endswith(IMAGE_SUFFIXES))
            if not images:
                raise UserError(f"no image ({', '.join(IMAGE_SUFFIXES)}) in the folder {place}")
            found += images
        else:
            found.append(place)
    missing = [file for file in found if not os.path.isfile(file)]
    if missing:
        raise UserError(f"{len(missing)} of the images are missing or no files, first {', '.join(missing[:5])}")
    return found


def read_lines(path: str, option: str, what: str) -> list[str]:
    """The lines of the file that `option` names, each once, without empty ones. Raises UserError where none is left."""
    try:
        lines = [line.strip() for line in read_text(path, f"a text file with a {what} a line").split("\n")]
    except UserError as error:
        raise UserError(f"{option}: {error}") from None
    lines = [line for line in dict.fromkeys(lines) if line]
    if not lines:
        raise UserError(f"{option} {path} holds no {what}; it must be a text file with a {what} a line")
    return lines


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
