"""What the rehearsal runs: configurations found on disk, and real command lines made small."""

import json
import math
import sys
from contextlib import redirect_stdout
from pathlib import Path
from types import SimpleNamespace

from dassl.config import get_cfg_default
from dassl.optim import build_lr_scheduler, build_optimizer
from torch import nn

import train
import trainers as package
from scripts.lib.runs import config_files
from trainers.core.registry import known_trainers

from .miniatures import PHOTOS

package.extend_cfg(get_cfg_default())  # registers the trainers

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = ROOT / "configs"
SHOTS = 2
FAMILIES = {"miniclip": "MiniCLIP", "vit_b16": "ViT-B/16"}  # how a file's name starts, and its backbone
# Small in epochs, sizes and draws; everything else is the configuration file's own.
# The random CLIP's towers have two blocks.
SMALL = """
OPTIM.MAX_EPOCH 1  DATALOADER.NUM_WORKERS 0  VERBOSE False  FEATURES.VIEWS 1  TEST.ALL_SUBSET 0
TRAINER.SHIP.EPOCHS 1  TRAINER.SHIP.HIDDEN_DIM 16  TRAINER.PRODA.N_PROMPT 4  TRAINER.PRODA.PROMPT_BATCH 2
TRAINER.VPT.SAMPLES 2  TRAINER.VPT.TEST_SAMPLES 2  TRAINER.TCP.LAYER 1  TRAINER.MAPLE.PROMPT_DEPTH 2
TRAINER.PROMPTSRC.PROMPT_DEPTH_TEXT 2  TRAINER.PROMPTSRC.PROMPT_DEPTH_VISION 2
TRAINER.MMRL.REP_LAYERS (1,2)  TRAINER.MMRL.REP_DIM 16
TRAINER.TIP_ADAPTER.ALPHA_GRID (0.1,3.0,3)  TRAINER.TIP_ADAPTER.BETA_GRID (0.1,7.0,3)
""".split()
for section in ("F_VAEGAN", "TF_VAEGAN", "F_CLSWGAN"):
    for option in ("EPOCHS 1", "HIDDEN_DIM 16", "SYNTHETIC 4", "BATCH_SIZE 256", "CRITIC_STEPS 1"):
        SMALL += f"TRAINER.{section}.{option}".split()


def trainers():
    """{name: class} of the trainers of this repository, in the order of their names."""
    known = sorted(known_trainers().items())
    return {name: kind for name, kind in known if kind.__module__.startswith("trainers.")}


def methods_and_compositions():
    """-> (the methods' names, each with all plug-ins that it can have)"""
    names = {}
    for name, kind in sorted(trainers().items(), key=lambda item: len(item[1].PLUGINS)):
        names.setdefault(kind.__base__.__name__ if kind.PLUGINS else name, []).append(name)
    return sorted(names), sorted({own[-1] for own in names.values()} - names.keys())


def files_of(config):
    """The --config-file's of `<Trainer>/<cfg>`; [] where there are none."""
    return [ROOT / path for path in config_files(*config.split("/"))]


def configurations():
    """Every configuration that a run can name, as `<Trainer>/<cfg>`, by trainer."""
    cfgs = sorted({path.stem for path in CONFIGS.glob("trainers/*/*.yaml")})
    names = [f"{trainer}/{cfg}" for trainer in trainers() for cfg in cfgs]
    return [name for name in names if files_of(name)]


def covering():
    """A few configurations in which each trainer occurs, and each file of configs/trainers and configs/plugins.

    A configuration is taken if it has something that those before it have not. Every other trainer is asked for its
    last configuration first, so that neither backbone gets all the compositions, which have no files of their own.
    """
    chosen, seen = [], set()
    everything = configurations()
    for number, trainer in enumerate(trainers()):
        own = [config for config in everything if config.startswith(f"{trainer}/")]
        for config in own if number % 2 else reversed(own):
            parts = {trainer, *files_of(config)}
            if not parts <= seen:
                chosen.append(config)
                seen |= parts
    return chosen


def dataset_files():
    """Every data set's file, as `dtd`."""
    return sorted(path.stem for path in CONFIGS.glob("datasets/*.yaml"))


def small(features):
    """Options that make any trainer's run small; `features` is the cache that runs share."""
    return [*SMALL, "FEATURES.DIR", str(features)]


def command(data, out, config, dataset, *options, task="base2new", shots=SHOTS):
    """A command line of train.py on the miniatures in `data`: `config` is `<Trainer>/<cfg>`; later options win."""
    root = Path(data) / PHOTOS if dataset == PHOTOS else data
    words = ["--root", root, "--seed", 1, "--trainer", config.split("/")[0], "--output-dir", out]
    words += ["--dataset-config-file", CONFIGS / "datasets" / f"{dataset}.yaml"]
    for path in files_of(config):
        words += ["--config-file", path]
    images = ["FEATURES.VIEWS", 0] if trainers()[config.split("/")[0]].TUNES_IMAGES else []
    return [str(word) for word in [*words, "TASK", task, "DATASET.NUM_SHOTS", shots, *options, *images]]


def check_merges(config, dataset):
    """Merges `<Trainer>/<cfg>` with a data set as train.py does, and tries what its words name.

    Raises whatever is wrong: a file that is not there, an unknown key, a value of the wrong type or that names nothing.
    -> the frozen config
    """
    cfg = train.setup_cfg(train.parse_args(command("data", "out", config, dataset)))
    family = next((family for family in FAMILIES if config.split("/")[1].startswith(family)), None)
    assert family, f"{config}: the name of a configuration starts with its backbone's: {', '.join(FAMILIES)}"
    assert cfg.MODEL.BACKBONE.NAME == FAMILIES[family], f"{config} is on {cfg.MODEL.BACKBONE.NAME}"
    build_lr_scheduler(build_optimizer(nn.Linear(1, 1), cfg.OPTIM), cfg.OPTIM)
    assert cfg.OPTIM.SCHEDULE_PER in ("epoch", "step"), cfg.OPTIM.SCHEDULE_PER
    kind = trainers()[cfg.TRAINER.NAME]
    kind.check_cfg(SimpleNamespace(), cfg)  # what the method itself refuses
    for plugin in kind.PLUGINS:
        plugin(SimpleNamespace(cfg=cfg))
    return cfg


def rehearse(argv):
    """Runs a command line in this process. -> its results.json, which is complete and has no odd number"""
    with redirect_stdout(sys.stdout):  # the run copies it to its log; afterwards it is what it was
        train.main(argv)
    (path,) = Path(argv[argv.index("--output-dir") + 1]).glob("results*.json")
    found = json.loads(path.read_text())
    assert found["metrics"], "nothing was evaluated"
    assert all(0 <= value <= 100 for value in found["metrics"].values()), found["metrics"]
    assert all(found["unsupported"].values()), "a metric is missing without a reason"
    assert all(math.isfinite(value) for value in numbers(found)), "a number is not finite"
    return found


def numbers(found):
    """All numbers in nested lists and dicts."""
    if isinstance(found, dict | list):
        for value in found.values() if isinstance(found, dict) else found:
            yield from numbers(value)
    elif isinstance(found, int | float):
        yield found
