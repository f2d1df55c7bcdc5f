"""One run: the folder that it fills and the command line that makes it. No other place knows either.

PyTorch is not needed here: these scripts answer at once, also before anything is set up.
"""

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path

from trainers.core import files

ROOT = Path(__file__).resolve().parents[2]
RESULTS = "results.json"  # written last: a run is done if and only if it exists
ALL = -1  # shots: all training images
Options = tuple[tuple[str, str], ...]  # (KEY, VALUE) of the configuration, in the order given


def seen_from_user(path: str) -> str:
    """The absolute path of what the user wrote; scripts/_common.sh changes the folder and notes where it was."""
    return os.path.abspath(os.path.join(os.environ.get("SHIP_CALLED_FROM", ""), os.path.expanduser(path)))


class UserError(Exception):
    """What the user can mend: shown without a traceback. (dassl.utils.UserError would load PyTorch first.)"""


def split_trainer(trainer: str) -> tuple[str, tuple[str, ...]]:
    """CoOp_SHIP_SAR -> CoOp, (SHIP, SAR). A plug-in is what has a folder in configs/plugins/."""
    plugins: tuple[str, ...] = ()
    while "_" in trainer and (ROOT / "configs/plugins" / trainer.rpartition("_")[2]).is_dir():
        trainer, _, plugin = trainer.rpartition("_")
        plugins = (plugin, *plugins)
    return trainer, plugins


def config_files(trainer: str, cfg: str) -> list[str]:
    """The files of a configuration, from the repository's root; [] where there are none."""
    return files.config_files(ROOT, trainer, cfg)


@dataclass(frozen=True)
class Place:
    """Where runs read and write: the variables DATA, BANK and OUTPUT of the scripts. A folder `output` that is not
    absolute lies below the repository."""

    output: str = "output"
    data: str = ""  # image root in CoOp's layout; empty: a feature bank
    bank: str = ""  # a feature bank; empty: the one that ships with the repository

    @classmethod
    def from_environment(cls):
        """DATA, BANK and OUTPUT, seen from where the user stands."""
        given = {key: os.environ.get(key.upper(), "") for key in ("output", "data", "bank")}
        return cls(**{key: seen_from_user(path) for key, path in given.items() if path})


@dataclass(frozen=True)
class Run:
    """What tells one run from another. Raises nothing: choices.py says whether its names exist."""

    task: str
    dataset: str  # name of its file in configs/datasets/
    trainer: str
    cfg: str  # name of its file in configs/trainers/<trainer>/
    seed: int
    shots: int = 16
    options: Options = ()
    source: "Run | None" = None  # a run of another data set that this one starts from ...
    start: tuple[str, ...] = ()  # ... and the options that take the source's folder

    @property
    def config(self) -> str:
        """The <cfg> part of the folder. Options change the run, so they are in its name."""
        origin = f"-from_{self.source.dataset}" if self.source else ""
        suffix = "".join(f"-{key}={value}" for key, value in self.options)
        return f"{self.cfg}{origin}{re.sub(r'[^A-Za-z0-9._=-]', '_', suffix)}"

    @property
    def title(self) -> str:
        shots = "" if self.shots == ALL else f"{self.shots} shots, "
        return f"{self.trainer}/{self.config} on {self.dataset}, {shots}seed {self.seed}"

    def folder(self, place: Place) -> str:
        """<output>/<task>/<dataset>/shots_<k>/<Trainer>/<config>/seed<s>, from the repository's root."""
        shots = f"shots_{'all' if self.shots == ALL else self.shots}"
        return "/".join((place.output, self.task, self.dataset, shots, self.trainer, self.config, f"seed{self.seed}"))

    def results(self, place: Place) -> Path:
        return ROOT / self.folder(place) / RESULTS

    def done(self, place: Place) -> bool:
        return self.results(place).exists()

    def command(self, place: Place) -> list[str]:
        """train.py and its arguments, for a process whose working folder is the repository's root."""
        identity = ["RUN.DATASET", self.dataset, "RUN.CONFIG", self.config]
        subset = "base" if self.task == "base2new" else "all"
        protocol = ["TASK", self.task, "DATASET.NUM_SHOTS", str(self.shots), "DATASET.SUBSAMPLE_CLASSES", subset]
        return [
            "train.py",
            *(("--root", place.data) if place.data else ()),
            *("--seed", str(self.seed), "--trainer", self.trainer),
            *("--dataset-config-file", f"configs/datasets/{self.dataset}.yaml"),
            *(word for path in config_files(self.trainer, self.cfg) for word in ("--config-file", path)),
            *("--output-dir", self.folder(place)),
            *identity,
            *protocol,
            *(("FEATURES.BANK", place.bank) if place.bank else ()),
            *(word for option in self.options for word in option),
            *(word for key in self.start if self.source for word in (key, self.source.folder(place))),
        ]


def read_results(path: Path) -> dict:
    """A results.json. Raises UserError where the file is damaged."""
    try:
        if not path.is_file():  # to open a pipe would wait for ever
            raise TypeError("it is no file")
        found = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(found["metrics"], dict):
            raise TypeError("'metrics' is no table")
        return found
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(f"{path} is damaged ({error}); delete it, and the run is made again") from None


def summary(path: Path) -> str:
    """A run's metrics in one line: base 83.3  new 53.7  H 65.3  all 66.6."""
    metrics = read_results(path)["metrics"]
    return "  ".join(f"{name} {value:.1f}" for name, value in metrics.items() if isinstance(value, (int, float)))
