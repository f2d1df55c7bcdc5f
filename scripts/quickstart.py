#!/usr/bin/env python3
"""Zero-shot, CoOp and CoOp + SHIP from base to new classes, on image features that ship with the repository.

    bash scripts/quickstart.sh                                  Caltech101, seed 1: a few minutes on a laptop's CPU
    bash scripts/quickstart.sh --seeds 1 2 3 --datasets caltech101 eurosat

Finished runs are kept and skipped, interrupted ones go on where they stopped. The table and the chart at the end are
those of  python scripts/report.py output/base2new."""

import argparse
import contextlib
import sys
import time
from pathlib import Path

import _path  # noqa: F401
from report import print_report
from report_lib import ReportError
from report_lib.build import Options
from report_lib.runs import RESULTS, load, parse

ROOT = Path(__file__).resolve().parents[1]
TASK = "base2new"
TRAINERS = ("ZeroshotCLIP", "CoOp", "CoOp_SHIP")
CONFIG = "miniclip"
SHOTS = 16


def parse_arguments(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1], metavar="SEED")
    parser.add_argument("--datasets", nargs="+", default=["caltech101"], metavar="NAME")
    parser.add_argument("--output", default="output", metavar="DIR", help="folder of the results")
    return parser.parse_args(argv)


def run_folder(output: Path, dataset: str, trainer: str, seed: int) -> Path:
    return output / TASK / dataset / f"shots_{SHOTS}" / trainer / CONFIG / f"seed{seed}"


def train_arguments(dataset: str, trainer: str, seed: int, folder: Path) -> list[str]:
    """What scripts/base2new.sh passes to train.py."""
    return [
        *("--seed", str(seed), "--trainer", trainer, "--output-dir", str(folder)),
        *("--dataset-config-file", str(ROOT / "configs" / "datasets" / f"{dataset}.yaml")),
        *("--config-file", str(ROOT / "configs" / "trainers" / trainer / f"{CONFIG}.yaml")),
        *("TASK", TASK, "DATASET.NUM_SHOTS", str(SHOTS), "DATASET.SUBSAMPLE_CLASSES", "base"),
    ]


@contextlib.contextmanager
def own_output():
    """A run may send what is printed to its own log too; that ends with the run."""
    streams = sys.stdout, sys.stderr
    try:
        yield
    finally:
        sys.stdout, sys.stderr = streams


def summary(path: Path) -> str:
    """One line of a run's metrics: base 83.3  new 53.7  H 65.3  all 66.6."""
    try:
        return "  ".join(f"{name} {value:.1f}" for name, value in parse(path).metrics.items())
    except ValueError as error:
        raise ReportError(f"{path}: {error}; delete it, and the run is made again") from None


def main(argv: list[str] | None = None) -> None:
    arguments = parse_arguments(argv)
    output = Path(arguments.output)
    plan = [
        (dataset, seed, trainer)
        for dataset in dict.fromkeys(arguments.datasets)
        for seed in dict.fromkeys(arguments.seeds)
        for trainer in TRAINERS
    ]
    start = time.perf_counter()
    finished = []
    for number, (dataset, seed, trainer) in enumerate(plan, 1):
        folder = run_folder(output, dataset, trainer, seed)
        results = folder / RESULTS
        heading = f"[{number}/{len(plan)}] {trainer} on {dataset}, seed {seed}"
        if results.exists():
            print(f"{heading}: done already, {summary(results)}", flush=True)
        else:
            print(f"\n=== {heading} -> {folder}", flush=True)
            began = time.perf_counter()
            with own_output():
                run_training(train_arguments(dataset, trainer, seed, folder))
            print(f"=== {heading}: {summary(results)}  ({time.perf_counter() - began:.0f} s)", flush=True)
        finished.append(results)
    print(f"\nAll {len(plan)} runs are done ({time.perf_counter() - start:.0f} s).\n", flush=True)
    runs, _ = load(finished)
    options = Options(paired=len(arguments.seeds) > 1, seconds=True)
    print_report(runs, options, plot=str(output / f"{TASK}.png"))


def run_training(argv: list[str]) -> None:
    import train  # here, because it takes PyTorch seconds to start

    train.main(argv)


def user_error() -> type[Exception]:
    """dassl's, where it can be imported: its message alone is shown."""
    try:
        from dassl.utils import UserError
    except ImportError:
        return ReportError
    return UserError


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(print("\ninterrupted; the same command goes on from here", file=sys.stderr) or 130)
    except ModuleNotFoundError as error:
        if error.name not in ("torch", "clip", "yacs", "safetensors", "matplotlib", "yaml"):
            raise
        sys.exit(print(f"error: {error}; run  bash scripts/quickstart.sh  to set up", file=sys.stderr) or 2)
    except (ReportError, user_error()) as error:
        sys.exit(print(f"error: {error}", file=sys.stderr) or 2)
