"""What a run is: its folder, its command line, its configuration files, and its state as the files have it.

No other place knows these. PyTorch is imported only to compare a finished run with the one that is wanted.
"""

import re
from collections.abc import Iterable
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

    def command(self, force: bool = False) -> list[str]:
        """train.py and its arguments, for a process whose working folder is the repository's root."""
        words = ["train.py", *(["--force"] if force else []), "--seed", self.seed, "--trainer", self.trainer]
        words += ["--root", self.data] if self.data else []
        words += ["--dataset-config-file", f"configs/datasets/{self.dataset}.yaml"]
        words += [word for path in config_files(self.trainer, self.cfg) for word in ("--config-file", path)]
        words += ["--output-dir", self.folder, "RUN.DATASET", self.dataset, "RUN.CONFIG", self.config]
        words += ["TASK", self.task, "DATASET.NUM_SHOTS", self.shots]
        words += ["DATASET.SUBSAMPLE_CLASSES", "base" if self.task == "base2new" else "all"]
        words += ["FEATURES.BANK", self.bank] if self.bank else []
        words += [word.replace("{seed}", str(self.seed)) for option in self.options for word in option]
        words += [word for key in self.start for word in (key, self.source.folder)]
        return [str(word) for word in words]


# ---- names

config_files = partial(files.config_files, ROOT)  # (trainer, cfg) -> its files, from the repository's root


def shortened(trainer: str, cfg: str) -> str:
    """The configuration of `trainer` that stands for `cfg` in a table: vit_b16_ctxv1 -> vit_b16, where it has no such
    file. A name that no trainer has is a typing error and comes back as it is; `check` reports it."""
    is_known = any(CONFIGS.glob(f"trainers/*/{cfg}.yaml"))
    return is_known and files.longest(cfg, partial(config_files, trainer)) or cfg


def check(run: Run):
    """Raises UserError where its data set or configuration does not exist. What is wrong with a trainer, train.py
    says."""
    require("data set", run.dataset, {path.stem for path in CONFIGS.glob("datasets/*.yaml")})
    if not config_files(run.trainer, run.cfg):
        known = {path.stem for path in CONFIGS.glob("trainers/*/*.yaml") if config_files(run.trainer, path.stem)}
        require(f"configuration of {run.trainer},", run.cfg, known)


def require(what: str, name: str, known: Iterable[str]):
    if name not in known:
        raise UserError(f"there is no {what} '{name}'; nearest: {', '.join(nearest(name, known)[:3])}")


# ---- what the files say of a run

# A run that has begun is being made, or was interrupted.
DONE, STALE, FAILED, BEGUN, WAITING = STATES = ("done", "stale", "failed", "begun", "waiting")
ENDED = "exit code "  # the last line of a failed run's log
# A run takes these from its backbone, and refuses other values.
OF_THE_BACKBONE = [f"INPUT.{name}" for name in ("PIXEL_MEAN", "PIXEL_STD", "SIZE", "INTERPOLATION")]


header_of = cache(read_bank_header)  # the runs of a list have few banks


class State(NamedTuple):
    name: str
    line: str = ""  # the metrics; the reason why it failed or is stale; the last line of its log


def state_of(run: Run) -> State:
    if not run.results.exists():
        lines = log_tail(run, 2)
        if not lines:
            return State(WAITING)
        return State(FAILED, "; ".join(lines)) if lines[-1].startswith(ENDED) else State(BEGUN, lines[-1])
    try:
        record = read_results(run.results)
        reasons = differences(run, record)
    except UserError as error:
        reasons = [str(error)]
    if not reasons:
        return State(DONE, summary(record))
    return State(STALE, f"{'; '.join(reasons)}; --force makes it anew, OUTPUT=DIR names another folder")


def differences(run: Run, record: dict) -> list[str]:
    """What tells the run that train.py would make of the command from the finished one which `record`, a results.json,
    is of; [] where it is the same."""
    import train
    from trainers.core.run import as_trained, options_of

    cfg, recorded = train.setup_cfg(train.parse_args(run.command()[1:])), record.get("identity")
    if not recorded:
        return []  # versions before 0.2.0 did not keep it
    own, defaults, sections = options_of(as_trained(cfg))
    own.update({key: recorded[key] for key in OF_THE_BACKBONE if key in recorded})
    reasons = identity.differences(own, recorded, defaults, sections)[: identity.SHOWN]
    bank = header_of(cfg.FEATURES.BANK) if cfg.FEATURES.BANK else {}
    is_other_bank = bank and bank.get("header_digest", bank.get("digest")) != recorded.get("images")
    if is_other_bank or not bank and record["bank"]:
        reasons.append("it was made on other images or another feature bank")
    return reasons


def log_tail(run: Run, count: int) -> list[str]:
    """The last lines of a run's log that are not empty, at most `count`."""
    text = run.log.read_text(encoding="utf-8", errors="replace") if run.log.exists() else ""
    return [line for line in text.splitlines() if line.strip()][-count:]
