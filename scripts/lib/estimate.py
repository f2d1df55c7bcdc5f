"""How long a list of runs takes: counts of their steps, times what two short runs on this machine took.

A step that sends n prompts through the text encoder takes a + b n seconds. Two runs of CoOp, on data sets with few and
with many classes, give a and b; their image features give the seconds of an image. It is an estimate of the order of
magnitude: steps of adapters are taken as a, and evaluation as a fixed part of each run.
"""

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import cache

from . import choices
from .launch import Launcher
from .protocols import PAPER_DATASETS
from .run import ALL, ROOT, Options, Place, Run, UserError, split_trainer

EPOCHS = "2"  # of a calibrating run
NO_STEPS = ("ZeroshotCLIP", "Tip_Adapter")
NO_PROMPTS = ("CLIP_Adapter", "Tip_Adapter_F", "f_VAEGAN", "TF_VAEGAN")  # their steps do not use the text encoder
SMALL, LARGE = 50, 120  # classes: what calibrates has at most LARGE, so that it is over soon


@dataclass(frozen=True)
class Work:
    """What a run consists of."""

    steps: float
    prompts: float  # through the text encoder, forward and backward, in all steps
    images: float  # encoded, where no earlier run has


@dataclass(frozen=True)
class Rates:
    """Seconds of a start, a step, a prompt and an image on this machine."""

    start: float
    step: float
    prompt: float
    image: float
    said: str  # how it was measured

    def seconds(self, work: Work) -> float:
        return self.start + work.steps * self.step + work.prompts * self.prompt

    def total(self, works: dict[Run, Work]) -> float:
        """Of all runs one after another; the images of a data set are encoded once."""
        images = {}
        for run, work in works.items():
            images[run.dataset] = max(images.get(run.dataset, 0.0), work.images)
        return sum(map(self.seconds, works.values())) + sum(images.values()) * self.image


@cache
def sizes() -> dict[str, tuple[int, tuple[int, int, int]]]:
    """{config name: (classes, images in train, val and test)}"""
    from datasets.prepare.sources import SOURCES  # registers all readers: needs PyTorch

    return {source.config: (source.classes, source.sizes) for source in SOURCES.values()}


def work_of(run: Run, cfg) -> Work:
    """`cfg`: the run's resolved configuration."""
    classes, (train, _, test) = sizes().get(run.dataset, (100, (1600, 0, 1600)))
    shown = classes if run.task in ("fewshot", "cross_dataset", "domain_generalization") else -(-classes // 2)
    few = train if run.shots == ALL else min(train, shown * run.shots)
    views = max(1, cfg.FEATURES.VIEWS)
    images = test + few * views
    method, plugins = split_trainer(run.trainer)
    plugged = "SHIP" in plugins
    if method in NO_STEPS or (run.task in ("cross_dataset", "domain_generalization") and not plugged):
        return Work(0, 0, images)
    steps = cfg.OPTIM.MAX_EPOCH * max(1, few // cfg.DATALOADER.TRAIN_X.BATCH_SIZE)
    names = classes if plugged else shown
    per_step = {"CoCoOp": names * cfg.DATALOADER.TRAIN_X.BATCH_SIZE, "ProDA": names * 4}.get(method, names)
    prompts = 0 if method in NO_PROMPTS else steps * per_step
    if plugged and run.task != "cross_dataset":  # there the generator is the source's
        epochs = cfg.TRAINER.SHIP.EPOCHS
        prompts += epochs * few
        steps += epochs * -(-few // cfg.TRAINER.SHIP.BATCH_SIZE)
    return Work(steps, prompts, images)


def calibrate(runs: list[Run], configure: Callable, place: Place, options: Options = ()) -> Rates:
    """Two runs of CoOp for EPOCHS epochs, kept in <output>/calibration: a second call reads what the first measured.

    `configure(run)` -> its configuration. Raises UserError where CoOp does not run on this machine.
    """
    folder = ROOT / place.output / "calibration"
    known = folder / "rates.json"
    if known.exists():
        return Rates(**json.loads(known.read_text()))
    inside = replace(place, output=f"{place.output}/calibration")
    found = [measure(run, configure, inside) for run in calibrating(runs, options)]
    rates = rates_of(found)
    known.write_text(json.dumps(asdict(rates)))
    return rates


def calibrating(runs: list[Run], options) -> list[Run]:
    """CoOp on the data sets of `runs` with the fewest classes and with the most below LARGE."""
    counted = sorted({(sizes().get(run.dataset, (SMALL, ()))[0], run.dataset) for run in runs})
    printed = [pair for pair in counted if pair[1] in PAPER_DATASETS] or counted
    fitting = [name for count, name in printed if count <= LARGE] or [printed[0][1]]
    first = next((run for run in runs if run.trainer == "CoOp"), runs[0])
    cfg = choices.shortened("CoOp", first.cfg)
    short = (*options, ("OPTIM.MAX_EPOCH", EPOCHS))
    return [Run("base2new", name, "CoOp", cfg, 1, 16, short) for name in dict.fromkeys((fitting[0], fitting[-1]))]


def measure(run: Run, configure, place: Place) -> tuple[Run, Work, float, dict]:
    """(run, its work, seconds in all, seconds of each stage)"""
    begin = time.perf_counter()
    if run.done(place):  # from an earlier, interrupted calibration: its own start is not known any more
        run.results(place).unlink()
    if Launcher([run], place, echo=False).run():
        raise UserError(f"the calibrating run failed (above): {run.title}. Mend that first, then run the same again")
    seconds = json.loads(run.results(place).read_text())["seconds"]
    return run, work_of(run, configure(run)), time.perf_counter() - begin, seconds


def rates_of(found) -> Rates:
    """a and b of the line through the measured runs; with one run, all of it goes to the prompts."""
    step_seconds = [
        (work.prompts / work.steps, stages.get("finetune", 0.0) / work.steps) for _, work, _, stages in found
    ]
    (few, fast), (many, slow) = step_seconds[0], step_seconds[-1]
    slope = max(0.0, (slow - fast) / (many - few)) if many > few else fast / few
    step = max(0.0, fast - slope * few)
    start = min(wall - stages.get("features", 0.0) - stages.get("finetune", 0.0) for _, _, wall, stages in found)
    image = max(stages.get("features", 0.0) / work.images for _, work, _, stages in found)
    where = " and ".join(run.dataset for run, *_ in found)
    said = f"{EPOCHS} epochs of CoOp on {where}, on this machine"
    return Rates(max(0.0, start), step, slope, image, said)
