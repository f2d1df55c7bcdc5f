"""Whether a configuration file resolves: merged as train.py does it, without data and without a model."""

from types import SimpleNamespace

import yaml
from dassl.data.datasets import DATASET_REGISTRY
from dassl.engine import TRAINER_REGISTRY
from dassl.optim import build_lr_scheduler, build_optimizer
from torch import nn

import train
from trainers.core import tasks

from .miniatures import DOMAINS, GZSL, TABLE1
from .rehearsal import command, files_of, with_bases

FAMILIES = {"miniclip": "MiniCLIP", "vit_b16": "ViT-B/16"}  # how a file's name starts, and its backbone
# {task: ({data set}, the classes that it trains on)}
TASKS = {
    "base2new": ({*TABLE1}, "base"),
    "fewshot": ({*TABLE1, "imagefolder"}, "all"),
    "cross_dataset": ({*TABLE1}, "all"),
    "domain_generalization": ({*DOMAINS}, "all"),
    "gzsl": ({*GZSL}, "all"),
}


def tasks_of(dataset):
    """The tasks that a data set is used in."""
    return [task for task, (datasets, _) in TASKS.items() if dataset in datasets]


def check_merges(config, dataset, task):
    """Merges `<Trainer>/<cfg>` with a data set as train.py does, and tries what its words name.

    Raises whatever is wrong: a file that is not there, an unknown key, a value of the wrong type or that names nothing.
    -> the frozen config
    """
    cfg = train.setup_cfg(train.parse_args(command("data", "out", config, dataset, task=task)))
    family = next((family for family in FAMILIES if config.split("/")[1].startswith(family)), None)
    assert family, f"{config}: the name of a configuration starts with its backbone's: {', '.join(FAMILIES)}"
    assert cfg.MODEL.BACKBONE.NAME == FAMILIES[family], f"{config} is on {cfg.MODEL.BACKBONE.NAME}"
    trained = object.__new__(tasks.TASKS[task]).for_training(cfg).DATASET.SUBSAMPLE_CLASSES  # opens no data set
    assert trained == TASKS[task][1], f"{task} trains on {trained} classes"
    build_lr_scheduler(build_optimizer(nn.Linear(1, 1), cfg.OPTIM), cfg.OPTIM)
    assert cfg.OPTIM.SCHEDULE_PER in ("epoch", "step"), cfg.OPTIM.SCHEDULE_PER
    kind = TRAINER_REGISTRY.get(cfg.TRAINER.NAME)
    kind.check_cfg(SimpleNamespace(), cfg)  # what the method itself refuses
    for plugin in kind.PLUGINS:
        plugin(SimpleNamespace(cfg=cfg))
    for path in {file for given in files_of(config) for file in with_bases(given)}:
        per_dataset = (yaml.safe_load(path.read_text()) or {}).get("PER_DATASET", {})
        unknown = per_dataset.keys() - set(DATASET_REGISTRY.registered_names())
        assert not unknown, f"{path}: PER_DATASET names no data set: {unknown}"
    return cfg
