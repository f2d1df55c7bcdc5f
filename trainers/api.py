"""The Python API: fit a model to images and names, ask it, add names to it, keep it.

    model = ship_trainers.fit("my_images/", new_names=["lobster", "crayfish"])
    model.predict("photos/")
    model = model.add_classes(["crab"])

`fit` runs what train.py runs, on images in memory. It leaves the process as it was: standard output, random
generators, working directory, registries and loggers. Without `out` nothing is written until `save`. Two threads wait
for each other.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace

import torch
from dassl.config import get_cfg_default
from dassl.engine import TRAINER_REGISTRY, build_trainer
from dassl.utils import set_random_seed
from tqdm import tqdm

from . import extend_cfg
from .core import memory_data, process, run
from .core.answers import Scores
from .core.classifier import Model
from .core.config import settings_of
from .core.files import UserError, config_files, read_results
from .core.images import FeatureData
from .generative.generator import TRAINING_FREE
from .plugins import explain
from .runs import open_run
from .zsclip import ZeroshotCLIP

HERE = Path(__file__).resolve().parent
FOLDS, FOLDS_OF_SLOW = 8, 3

extend_cfg(get_cfg_default())  # registers the methods


def fit(
    images,
    labels=None,
    *,
    new_names=(),
    method: str = "Ensemble_GATE",
    backbone: str = "MiniCLIP",
    shots: int | None = None,
    seed: int = 1,
    out=None,
    template: str | Sequence[str] | None = None,
    options: Mapping[str, object] | None = None,
    device: str | None = None,
    progress: bool | None = None,
    skip_bad_images: bool = False,
) -> Model:
    """A model of classes with images and of classes that have only a name.

    images: a folder that has one of images per class; or images with `labels`, a class name each; or features [N, d].
    new_names: a list, or a text file with a name a line. shots: images per class, drawn by `seed`; None takes all.
    out: the folder of a run that is written, as train.py does. template: the prompt, or several ("a photo of a {}.").
    options: keys of the configuration, as {"OPTIM.MAX_EPOCH": 20}. device: cuda or cpu; None takes a GPU where there is
    one. progress: True shows what train.py prints, False nothing, None a bar on a terminal.

    Raises UserError for what cannot be used, with what was expected.
    """
    out = os.path.abspath(os.fspath(out)) if out else ""
    with process.ONE_AT_A_TIME, process.undisturbed(device != "cpu"), process.logged(progress, out), run.alone_in(out):
        set_random_seed(seed)
        trainer = build_trainer(_configuration(method, backbone, seed, shots, out, template, options, device))
        trainer.hides_bars = True if progress is False else None  # None: shown on a terminal
        names = memory_data.listed(new_names, "new_names")
        task, store = memory_data.from_user(trainer, images, labels, names, skip_bad_images)
        trainer.host = SimpleNamespace(task=task, data=FeatureData(trainer, task, store))
        cfg = trainer.cfg
        trainer.open_data(training=True)
        trainer.identity = run.identity_of(trainer)
        if run.is_done(trainer):
            return load(out)
        trainer.cfg = cfg  # without the template that the identity put there
        scores = _scores(trainer, store)
        names = [*task.real_classnames(), *task.label_only_classnames()]
        model = Model(trainer, task.real_classnames(), [names], scores, out)
        trainer.origin = {"command": ["fit"], **model.record()}
        set_random_seed(seed)
        trainer.train()
        model.head()
        print(model.scores)
    return model


def load(folder, device: str | None = None, workers: int = 0) -> Model:
    """The model of the finished run in `folder`, whoever made it: `fit`, `Model.save` or train.py. device: cuda or cpu;
    None takes a GPU where there is one. workers: processes that read images, which on some systems would start a
    program again that has no `if __name__ == "__main__"`."""
    folder = os.path.abspath(os.fspath(folder))
    options = ["VERBOSE", "False", "DATALOADER.NUM_WORKERS", str(workers), "USE_CUDA", str(_uses_cuda(device))]
    with process.ONE_AT_A_TIME, process.undisturbed(), process.quiet():
        trainer = open_run(folder, options=options)
        path = os.path.join(folder, "results.json")
        record = read_results(path) if os.path.isfile(path) else {}
        gate = next((plugin for plugin in trainer.plugins if hasattr(plugin, "known_names")), None)
        known = list((gate and gate.known_names()) or trainer.trained_classnames)
        base = (gate and gate.settings.get("base")) or known
        classes = record.get("classes") or {"base": base, "blocks": [known], "keep": None}
        missing = Scores(reason="the run was not made by fit; its results.json has its figures")
        scores = Scores(**record["scores"]) if "scores" in record else missing
        model = Model(trainer, classes["base"], classes["blocks"], scores, folder, classes["keep"])
        model.head()
    return model


def _configuration(method, backbone, seed, shots, out, template, options, device):
    """What train.py would make of files and flags."""
    if reason := explain(method):
        raise UserError(reason)
    TRAINER_REGISTRY.get(method)  # raises UnknownName, with the nearest ones
    name = "miniclip" if backbone == "MiniCLIP" else "vit_b16"  # all others are trained as ViT-B/16 is
    root = HERE if (HERE / "configs").is_dir() else HERE.parent  # installed, or in a checkout
    files = config_files(root, method, name)
    if not files:
        raise UserError(f"no configuration of {method} in {root}: fit needs the whole package, see pip install .")
    settings = {}
    for file in files:
        settings |= settings_of(root / file)
    settings |= {
        "TRAINER.NAME": method,
        "MODEL.BACKBONE.NAME": backbone,
        "SEED": seed,
        "DATASET.NAME": memory_data.NAME,
        "DATASET.NUM_SHOTS": shots or -1,
        "OUTPUT_DIR": out,
        "VERBOSE": False,
        "TASK": "fewshot",
        "RUN.DATASET": "images",
        "RUN.CONFIG": name,
        "DATALOADER.NUM_WORKERS": 0,
    }
    cfg = get_cfg_default()
    extend_cfg(cfg)
    for key, value in {**settings, **(options or {})}.items():
        cfg.merge_from_list([key, value])
    if template:
        cfg.DATASET.TEMPLATE = template if isinstance(template, str) else list(template)
    cfg.USE_CUDA = _uses_cuda(device)
    cfg.freeze()
    return cfg


def _uses_cuda(device) -> bool:
    if device not in (None, "cpu", "cuda") or (device == "cuda" and not torch.cuda.is_available()):
        raise UserError(f"device {device!r}: expected cpu, or cuda where there is a GPU, or None")
    return device != "cpu" and torch.cuda.is_available()


def _scores(trainer, store) -> Scores:
    """Leave-classes-out inside the training images (core/leave_out.py); fewer folds where a method trains for long."""
    kind, cfg = type(trainer), trainer.cfg
    parts = [kind, *kind.reads(cfg)]
    has_generator = any(plugin.NAME == "SHIP" for part in parts for plugin in part.PLUGINS)
    trains_generator = has_generator and cfg.TRAINER.SHIP.GENERATOR not in TRAINING_FREE
    slow = trains_generator or any(part.LEARNS_PROMPTS for part in parts)
    folds, zero_shot, answers = [], [], []
    numbers = range(FOLDS_OF_SLOW if slow else FOLDS)
    for number in tqdm(numbers, "cross-validation", leave=False, disable=trainer.hides_bars):
        try:
            figures, found = memory_data.figures_of_fold(trainer, kind, number, store)
        except UserError as error:
            return Scores(reason=str(error))
        folds.append(figures)
        answers += found
        zero_shot.append(memory_data.figures_of_fold(trainer, ZeroshotCLIP, number, store)[0])
    return Scores.of_folds(folds, zero_shot, trainer.dataset.classnames, answers)
