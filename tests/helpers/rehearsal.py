"""What the rehearsal runs: configuration files found on disk, and real command lines made small."""

import json
import math
from pathlib import Path

import train
from trainers.core.registry import known_trainers
from trainers.plugins import split_name

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = ROOT / "configs"
SHOTS = 2
# Small in epochs, sizes and draws; everything else is the configuration file's own.
SMALL = (
    "OPTIM.MAX_EPOCH 1 TRAIN.PRINT_FREQ 1 DATALOADER.NUM_WORKERS 0 VERBOSE False FEATURES.VIEWS 1 TEST.ALL_SUBSET 0"
).split()
SMALL_SECTIONS = {
    "SHIP": "EPOCHS 1 HIDDEN_DIM 16",
    "PRODA": "N_PROMPT 4 PROMPT_BATCH 2",
    "VPT": "SAMPLES 2 TEST_SAMPLES 2",
    "TIP_ADAPTER": "ALPHA_GRID (0.1,3.0,3) BETA_GRID (0.1,7.0,3)",
    "F_VAEGAN": "EPOCHS 1 HIDDEN_DIM 16 SYNTHETIC 4 BATCH_SIZE 256 CRITIC_STEPS 1",
    "TF_VAEGAN": "EPOCHS 1 HIDDEN_DIM 16 SYNTHETIC 4 BATCH_SIZE 256 CRITIC_STEPS 1",
}


def trainers():
    """{name: class} of the trainers of this repository."""
    return {name: kind for name, kind in known_trainers().items() if kind.__module__.startswith("trainers.")}


def files_of(config, configs=CONFIGS):
    """The --config-file's of `<Trainer>/<cfg>`: its own, or those of its method and of its plug-ins."""
    trainer, cfg = config.split("/")
    own = configs / "trainers" / trainer / f"{cfg}.yaml"
    if own.exists():
        return [own]
    method, plugins = split_name(trainer)
    parts = [configs / "trainers" / method, *(configs / "plugins" / plugin.NAME for plugin in plugins)]
    return [folder / f"{cfg}.yaml" for folder in parts]


def config_files():
    """Every configuration of every trainer, as `<Trainer>/<cfg>`: all files, and what twins without files are made
    of."""
    cfgs = {path.stem for path in CONFIGS.glob("trainers/*/*.yaml")}
    found = {f"{path.parent.name}/{path.stem}" for path in CONFIGS.glob("trainers/*/*.yaml")}
    composed = [f"{name}/{cfg}" for name in trainers() for cfg in cfgs if not (CONFIGS / "trainers" / name).exists()]
    return sorted(found | {config for config in composed if all(path.exists() for path in files_of(config))})


def dataset_files():
    """Every data set's file, as `dtd`."""
    return sorted(path.stem for path in CONFIGS.glob("datasets/*.yaml"))


def small(features):
    """Options that make any trainer's run small; `features` is the cache that runs share."""
    found = [*SMALL, "FEATURES.DIR", str(features)]
    for section, words in SMALL_SECTIONS.items():
        keys, values = words.split()[::2], words.split()[1::2]
        for key, value in zip(keys, values, strict=True):
            found += [f"TRAINER.{section}.{key}", value]
    return found


def command(data, out, config, dataset, *options, task="base2new", shots=SHOTS, subset="all", configs=CONFIGS):
    """A command line of train.py: `config` is `<Trainer>/<cfg>`; later options win."""
    flags = {
        "--root": data,
        "--seed": 1,
        "--trainer": config.split("/")[0],
        "--dataset-config-file": configs / "datasets" / f"{dataset}.yaml",
        "--output-dir": out,
    }
    words = [word for pair in flags.items() for word in pair]
    words += [word for path in files_of(config, configs) for word in ("--config-file", path)]
    words += ["TASK", task, "DATASET.NUM_SHOTS", shots, "DATASET.SUBSAMPLE_CLASSES", subset, *options]
    return [str(word) for word in words]


def rehearse(argv):
    """Runs a command line and looks at what it left behind. -> results.json"""
    train.main(argv)
    found = json.loads((Path(argv[argv.index("--output-dir") + 1]) / "results.json").read_text())
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


def backbones(folder):
    """{(backbone's name, sha256): trainers} of the finished runs below `folder`."""
    found = {}
    for path in sorted(Path(folder).rglob("results.json")):
        run = json.loads(path.read_text())
        found.setdefault(tuple(run["backbone"].values()), set()).add(run["trainer"])
    return found


def check_one_backbone(folder, name):
    """AssertionError unless all runs below `folder`, the rows of one table, were made on the backbone `name`."""
    found = backbones(folder)
    assert len(found) == 1, f"a table mixes backbones: {found}"
    assert [key[0] for key in found] == [name], f"expected {name}, found {found}"
