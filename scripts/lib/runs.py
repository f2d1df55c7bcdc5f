"""What a run is: its folder, its command line, its configuration files, and its state as the files have it.

No other place knows these. Nothing here needs PyTorch: the scripts answer at once, also before anything is set up.
"""

import os
import re
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import NamedTuple

from trainers.core import identity
from trainers.core.files import RESULTS, UserError, nearest, read_results, summary

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = ROOT / "configs"
ALL = -1  # shots: all training images
Options = tuple[tuple[str, str], ...]  # (KEY, VALUE) of the configuration, in the order given


def seen_from_user(path: str) -> str:
    """The absolute path of what the user wrote; scripts/_common.sh changes the folder and notes where it was."""
    return os.path.abspath(os.path.join(os.environ.get("SHIP_CALLED_FROM", ""), os.path.expanduser(path)))


@dataclass(frozen=True)
class Paths:
    """Where runs read and write. A folder `output` that is not absolute lies below the repository."""

    output: str = "output"
    data: str = ""  # image root in CoOp's layout; empty: a feature bank
    bank: str = ""  # a feature bank; empty: the one that ships with the repository

    @classmethod
    def from_environment(cls):
        """The variables OUTPUT, DATA and BANK, seen from where the user stands."""
        given = {key: os.environ.get(key.upper(), "") for key in ("output", "data", "bank")}
        return cls(**{key: seen_from_user(path) for key, path in given.items() if path})


@dataclass(frozen=True)
class Run:
    """What tells one run from another. `check` says whether its names exist."""

    task: str
    dataset: str  # name of its file in configs/datasets/
    trainer: str
    cfg: str  # name of its file in configs/trainers/<trainer>/
    seed: int
    shots: int = 16
    options: Options = ()
    source: "Run | None" = None  # a run on another data set that this one starts from ...
    start: tuple[str, ...] = ()  # ... and the options that take the source's folder
    paths: Paths = Paths()

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

    @property
    def folder(self) -> str:
        """<output>/<task>/<dataset>/shots_<k>/<Trainer>/<config>/seed<s>, from the repository's root."""
        shots = f"shots_{'all' if self.shots == ALL else self.shots}"
        parts = (self.paths.output, self.task, self.dataset, shots, self.trainer, self.config, f"seed{self.seed}")
        return "/".join(parts)

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
            *(["--root", self.paths.data] if self.paths.data else []),
            *("--seed", str(self.seed), "--trainer", self.trainer),
            *("--dataset-config-file", f"configs/datasets/{self.dataset}.yaml"),
            *(word for path in config_files(self.trainer, self.cfg) for word in ("--config-file", path)),
            *("--output-dir", self.folder),
            *("RUN.DATASET", self.dataset, "RUN.CONFIG", self.config),
            *("TASK", self.task, "DATASET.NUM_SHOTS", str(self.shots), "DATASET.SUBSAMPLE_CLASSES", subset),
            *(["FEATURES.BANK", self.paths.bank] if self.paths.bank else []),
            *(word.replace("{seed}", str(self.seed)) for option in self.options for word in option),
            *(word for key in self.start if self.source for word in (key, self.source.folder)),
        ]


# ---- configuration files


def config_files(trainer: str, cfg: str) -> list[str]:
    """The files of a configuration, from the repository's root: that of the longest prefix of the trainer's name which
    has one, then those of the remaining plug-ins. A trainer whose method has no files at all, as one that was dropped
    in, takes configs/base/<cfg>.yaml. [] where there is no such configuration."""
    prefix, plugins = trainer, []
    while not (CONFIGS / "trainers" / prefix / f"{cfg}.yaml").is_file():
        method, _, last = prefix.rpartition("_")
        if (CONFIGS / "trainers" / prefix).is_dir() and not (CONFIGS / "plugins" / last).is_dir():
            return []  # a method of its own (CoOp_VPT, not CoOp with VPT), which lacks this file
        if not method:
            break
        prefix, plugins = method, [last, *plugins]
    folder = f"trainers/{prefix}" if (CONFIGS / "trainers" / prefix).is_dir() else "base"
    if not (CONFIGS / folder / f"{cfg}.yaml").is_file():
        return []
    added = [(f"plugins/{plugin}", shorter_name(f"plugins/{plugin}", cfg)) for plugin in plugins]
    return [f"configs/{place}/{name}.yaml" for place, name in [(folder, cfg), *added] if name]


def shorter_name(folder: str, cfg: str) -> str:
    """The longest beginning of `cfg` that is a file in a folder of configs/: vit_b16_ctxv1 -> vit_b16; "" if none."""
    while cfg and not (CONFIGS / folder / f"{cfg}.yaml").is_file():
        cfg = cfg.rpartition("_")[0]
    return cfg


def shortened(trainer: str, cfg: str) -> str:
    """The configuration of `trainer` that stands for `cfg` in a table: vit_b16_ctxv1 -> vit_b16, where it has no such
    file. A name that no trainer has is a typing error and comes back as it is; `check` reports it."""
    known = {path.stem for path in CONFIGS.glob("trainers/*/*.yaml")}
    name = cfg
    while cfg in known and name and not config_files(trainer, name):
        name = name.rpartition("_")[0]
    return name or cfg


# ---- names


def datasets() -> list[str]:
    return sorted(path.stem for path in CONFIGS.glob("datasets/*.yaml"))


def trainers() -> list[str]:
    """Those with configuration files; plug-ins compose more (CoOp_SHIP_GATE), and files dropped in bring their own."""
    return sorted(path.name for path in CONFIGS.glob("trainers/*") if path.is_dir())


@cache
def is_trainer(name: str) -> bool:
    """Whether the method and every plug-in in a trainer's name have configuration files, or a class in trainers/."""
    if (CONFIGS / "trainers" / name).is_dir():
        return True
    classes = "\n".join(path.read_text(encoding="utf-8") for path in ROOT.glob("trainers/**/*.py"))
    if f"class {name}(" in classes:
        return True
    method, _, plugin = name.rpartition("_")
    is_plugin = (CONFIGS / "plugins" / plugin).is_dir() or f"class {plugin}(" in classes
    return bool(method) and is_plugin and is_trainer(method)


def check(run: Run):
    """Raises UserError that says the nearest three names, where its data set, trainer or configuration does not
    exist."""
    require("data set", run.dataset, datasets(), f"configs/datasets/{run.dataset}.yaml")
    if not is_trainer(run.trainer):
        require("trainer", run.trainer, trainers(), f"configs/trainers/{run.trainer}/")
    if not config_files(run.trainer, run.cfg):
        known = {path.stem for path in CONFIGS.glob("trainers/*/*.yaml")}
        known = [cfg for cfg in known if config_files(run.trainer, cfg)]
        require(f"configuration of {run.trainer},", run.cfg, known, f"configs/trainers/{run.trainer}/{run.cfg}.yaml")


def require(what: str, name: str, known: list[str], where: str):
    if name not in known:
        raise UserError(f"there is no {what} '{name}' ({where}); nearest: {', '.join(nearest(name, known)[:3])}")


# ---- what the files say of a run

DONE, STALE, RUNNING, FAILED, WAITING = STATES = ("done", "stale", "running", "failed", "waiting")
ENDED = "=== exit code "  # the last line of a failed run's log
# A run takes these from its backbone, and refuses other values.
OF_THE_BACKBONE = [f"INPUT.{name}" for name in ("PIXEL_MEAN", "PIXEL_STD", "SIZE", "INTERPOLATION")]


class State(NamedTuple):
    name: str
    line: str = ""  # the metrics; the reason why it failed or is stale; the last line of its log
    code: int = 0  # for the exit status


def state_of(run: Run) -> State:
    *_, before, last = ["", "", *log_tail(run, 2)]
    if run.results.exists():
        try:
            record = read_results(run.results)
            reason = differences(run, record)
        except (UserError, OSError) as error:
            reason = str(error)
        reason = reason and f"{reason}; --force makes it anew, OUTPUT=DIR names another folder"
        return State(STALE, reason, 2) if reason else State(DONE, summary(record))
    if run.lock.exists():
        lock = lock_of(run)
        if not acquired(lock):
            return State(RUNNING, last)
        release(lock)
    if last.startswith(ENDED):
        code = last.removeprefix(ENDED)
        return State(FAILED, f"exit code {code}; {before}", int(code))
    return State(WAITING, last)


def differences(run: Run, record: dict) -> str:
    """What tells the run from the finished one that `record`, a results.json, is of; "" where it is the same."""
    recorded = record.get("identity")
    if not recorded or os.environ.get("SHIP_NO_ENVIRONMENT"):
        return ""  # an early version did not keep it; and before the set-up nothing can be compared
    own, defaults, sections, bank = own_identity(run if run.source else replace(run, seed=0))
    own = {**own, "SEED": run.seed, **{key: recorded[key] for key in OF_THE_BACKBONE if key in recorded}}
    reasons = identity.differences(own, recorded, defaults, sections)[: identity.SHOWN]
    if bank and bank != recorded.get("images"):
        reasons.append("it was made on other data than this feature bank")
    elif record.get("bank") and not bank:
        reasons.append("it was made on a feature bank, not on images")
    return "; ".join(reasons)


@cache
def own_identity(run: Run):
    """(options, their defaults, sections, digest of the feature bank) of the configuration that train.py makes of a
    run's command. This imports PyTorch."""
    from safetensors import safe_open

    import train
    from trainers.core.run import options_of

    cfg, digest = train.setup_cfg(train.parse_args(run.command()[1:])), ""
    cfg.defrost()
    if "normalize" not in cfg.INPUT.TRANSFORMS:
        cfg.INPUT.TRANSFORMS = (*cfg.INPUT.TRANSFORMS, "normalize")  # as every run does
    if cfg.FEATURES.BANK:
        with safe_open(cfg.FEATURES.BANK, "pt") as file:
            header = file.metadata()
        digest = header.get("header_digest", header.get("digest"))
    return *options_of(cfg), digest


def lock_of(run: Run):
    from filelock import FileLock  # not at the top: --help is shown before anything is installed

    run.lock.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(run.lock)


def acquired(lock) -> bool:
    """Whether we have the lock now, which another launcher may hold."""
    with suppress(TimeoutError):  # filelock's Timeout is one
        lock.acquire(timeout=0.1)
    return lock.is_locked


def release(lock):
    with suppress(OSError):
        os.remove(lock.lock_file)  # while it is still held: who waits notices it, and takes a new one
    lock.release(force=True)


def log_tail(run: Run, count: int) -> list[str]:
    """The last lines of a run's log that are not empty, at most `count`."""
    text = run.log.read_text(encoding="utf-8", errors="replace") if run.log.exists() else ""
    lines = [line.rstrip() for line in re.split(r"[\r\n]", text)]  # a progress bar rewrites its line after \r
    return [line for line in lines if line][-count:]
