"""What a run is: its folder, its command line, its configuration files, and its state as the files have it.

No other place knows these. Nothing here needs PyTorch: the scripts answer at once, also before anything is set up.
"""

import os
import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

from trainers.core import files, identity
from trainers.core.bank_header import read_bank_header
from trainers.core.files import RESULTS, UserError, nearest, read_results, summary

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = ROOT / "configs"
Options = tuple[tuple[str, str], ...]  # (KEY, VALUE) of the configuration, in the order given


@dataclass(frozen=True)
class Run:
    """What tells one run from another. `check` says whether its names exist."""

    task: str
    dataset: str  # name of its file in configs/datasets/
    trainer: str
    cfg: str  # name of its file in configs/trainers/<trainer>/
    seed: int
    shots: int = 16  # negative: all training images
    options: Options = ()
    source: "Run | None" = None  # a run on another data set that this one starts from ...
    start: tuple[str, ...] = ()  # ... and the options that take the source's folder
    output: str = "output"  # where runs write; below the repository where it is not absolute
    data: str = ""  # image root in CoOp's layout; empty: a feature bank
    bank: str = ""  # a feature bank; empty: the one that ships with the repository

    @property
    def config(self) -> str:
        """The <cfg> part of the folder. Options change the run, so they are in its name."""
        origin = f"-from_{self.source.dataset}" if self.source else ""
        suffix = "".join(f"-{key}={value}" for key, value in self.options)
        return f"{self.cfg}{origin}{re.sub(r'[^A-Za-z0-9._=-]', '_', suffix)}"

    @property
    def folder(self) -> str:
        """<output>/<task>/<dataset>/shots_<k>/<Trainer>/<config>/seed<s>, from the repository's root."""
        shots = "all" if self.shots < 0 else self.shots
        place = f"{self.output}/{self.task}/{self.dataset}/shots_{shots}"
        return f"{place}/{self.trainer}/{self.config}/seed{self.seed}"

    @property
    def results(self) -> Path:
        return ROOT / self.folder / RESULTS

    @property
    def log(self) -> Path:
        """What the run prints goes beside its folder."""
        return self.results.parent.with_name(f".seed{self.seed}.log")

    @property
    def lock(self) -> Path:
        """Of the launcher that writes the log. (Whoever writes to the folder holds another, train.py's.)"""
        return self.log.with_suffix(".log.lock")

    def command(self, force: bool = False) -> list[str]:
        """train.py and its arguments, for a process whose working folder is the repository's root."""
        subset = "base" if self.task == "base2new" else "all"
        return [
            "train.py",
            *(["--force"] if force else []),
            *(["--root", self.data] if self.data else []),
            *("--seed", str(self.seed), "--trainer", self.trainer),
            *("--dataset-config-file", f"configs/datasets/{self.dataset}.yaml"),
            *(word for path in config_files(self.trainer, self.cfg) for word in ("--config-file", path)),
            *("--output-dir", self.folder),
            *("RUN.DATASET", self.dataset, "RUN.CONFIG", self.config),
            *("TASK", self.task, "DATASET.NUM_SHOTS", str(self.shots), "DATASET.SUBSAMPLE_CLASSES", subset),
            *(["FEATURES.BANK", self.bank] if self.bank else []),
            *(word.replace("{seed}", str(self.seed)) for option in self.options for word in option),
            *(word for key in self.start if self.source for word in (key, self.source.folder)),
        ]


# ---- names

config_files = partial(files.config_files, ROOT)  # (trainer, cfg) -> its files, from the repository's root


def shortened(trainer: str, cfg: str) -> str:
    """The configuration of `trainer` that stands for `cfg` in a table: vit_b16_ctxv1 -> vit_b16, where it has no such
    file. A name that no trainer has is a typing error and comes back as it is; `check` reports it."""
    is_known = any(CONFIGS.glob(f"trainers/*/{cfg}.yaml"))
    return is_known and files.longest(cfg, partial(config_files, trainer)) or cfg


def datasets() -> list[str]:
    return sorted(path.stem for path in CONFIGS.glob("datasets/*.yaml"))


def trainers() -> list[str]:
    """Those with configuration files; plug-ins compose more (CoOp_SHIP_GATE), and files dropped in bring their own."""
    return sorted(path.name for path in CONFIGS.glob("trainers/*") if path.is_dir())


@cache
def known_parts() -> set[str]:
    """Trainers with configuration files, and the classes in trainers/, which plug-ins and dropped-in methods are."""
    texts = [path.read_text(encoding="utf-8") for path in ROOT.glob("trainers/**/*.py")]
    return {*trainers(), *re.findall(r"^class (\w+)\(", "\n".join(texts), re.MULTILINE)}


def is_trainer(name: str) -> bool:
    """Whether the method and every plug-in in a trainer's name are known."""
    method, _, plugin = name.rpartition("_")
    return name in known_parts() or plugin in known_parts() and is_trainer(method)


def check(run: Run):
    """Raises UserError that says the nearest three names, where its data set, trainer or configuration does not
    exist."""
    require("data set", run.dataset, datasets(), f"configs/datasets/{run.dataset}.yaml")
    if not is_trainer(run.trainer):
        require("trainer", run.trainer, trainers(), f"configs/trainers/{run.trainer}/")
    if not config_files(run.trainer, run.cfg):
        known = {path.stem for path in CONFIGS.glob("trainers/*/*.yaml") if config_files(run.trainer, path.stem)}
        require(f"configuration of {run.trainer},", run.cfg, known, f"configs/trainers/{run.trainer}/{run.cfg}.yaml")


def require(what: str, name: str, known: Iterable[str], where: str):
    if name not in known:
        raise UserError(f"there is no {what} '{name}' ({where}); nearest: {', '.join(nearest(name, known)[:3])}")


# ---- what the files say of a run

DONE, STALE, RUNNING, FAILED, WAITING = STATES = ("done", "stale", "running", "failed", "waiting")
ENDED = "exit code "  # the last line of a failed run's log
# A run takes these from its backbone, and refuses other values.
OF_THE_BACKBONE = [f"INPUT.{name}" for name in ("PIXEL_MEAN", "PIXEL_STD", "SIZE", "INTERPOLATION")]


class State(NamedTuple):
    name: str
    line: str = ""  # the metrics; the reason why it failed or is stale; the last line of its log


def state_of(run: Run) -> State:
    if not run.results.exists():
        return State(RUNNING, *log_tail(run, 1)) if is_locked(run) else state_of_log(run)
    try:
        record = read_results(run.results)
        reasons = differences(run, record)
    except (UserError, OSError) as error:
        reasons = [str(error)]
    if not reasons:
        return State(DONE, summary(record))
    return State(STALE, f"{'; '.join(reasons)}; --force makes it anew, OUTPUT=DIR names another folder")


def state_of_log(run: Run) -> State:
    """Of a run without results that is not at work."""
    *_, before, last = ["", "", *log_tail(run, 2)]
    return State(FAILED, f"{before}; {last}") if last.startswith(ENDED) else State(WAITING, last)


def differences(run: Run, record: dict) -> list[str]:
    """What tells the run that train.py would make of the command from the finished one which `record`, a results.json,
    is of; [] where it is the same. This imports PyTorch."""
    recorded = record.get("identity")
    if not recorded or os.environ.get("SHIP_NO_ENVIRONMENT"):
        return []  # an early version did not keep it; and before the set-up nothing can be compared
    import train
    from trainers.core.run import options_of

    cfg = train.setup_cfg(train.parse_args(run.command()[1:]))
    cfg.defrost()
    if "normalize" not in cfg.INPUT.TRANSFORMS:
        cfg.INPUT.TRANSFORMS = (*cfg.INPUT.TRANSFORMS, "normalize")  # as every run does
    own, defaults, sections = options_of(cfg)
    own.update({key: recorded[key] for key in OF_THE_BACKBONE if key in recorded})
    reasons = identity.differences(own, recorded, defaults, sections)[: identity.SHOWN]
    if bank := cfg.FEATURES.BANK and read_bank_header(cfg.FEATURES.BANK):
        if bank.get("header_digest", bank.get("digest")) != recorded.get("images"):
            reasons.append("it was made on other data than this feature bank")
    elif record.get("bank"):
        reasons.append("it was made on a feature bank, not on images")
    return reasons


def is_locked(run: Run) -> bool:
    """Whether a launcher is at the run now; the lock of one that was killed is free."""
    if not run.lock.exists():
        return False
    from filelock import FileLock, Timeout  # not at the top: --help is shown before anything is installed

    with suppress(Timeout), FileLock(run.lock, timeout=0):
        return False
    return True


def log_tail(run: Run, count: int) -> list[str]:
    """The last lines of a run's log that are not empty, at most `count`."""
    text = run.log.read_text(encoding="utf-8", errors="replace") if run.log.exists() else ""
    lines = [line.rstrip() for line in re.split(r"[\r\n]", text)]  # a progress bar rewrites its line after \r
    return [line for line in lines if line][-count:]
