"""The command line of the bash scripts: python scripts/protocol.py NAME ARGUMENTS... [-- KEY VALUE ...]"""

import argparse
import inspect
import os
import subprocess
import sys

from . import choices
from .done import DONE
from .launch import Launcher, visible_gpus, with_sources
from .protocols import PROTOCOLS, Plan, usage, variable
from .run import ROOT, Options, Place, Run, UserError
from .slurm import Slurm
from .status import Status


class Parser(argparse.ArgumentParser):
    """With the flags of every script that executes runs, and options KEY VALUE behind --."""

    def __init__(self, **more):
        super().__init__(allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter, **more)
        add = self.add_argument
        add("--jobs", default=variable("JOBS"), metavar="N", help="runs side by side (default: JOBS, else 1)")
        add("--per-gpu", type=int, default=0, metavar="K", help="K runs side by side on each GPU")
        add("--slurm", nargs="*", metavar="KEY=VALUE", help="Slurm jobs, with these options of sbatch")
        add("--force", action="store_true", default=bool(variable("FORCE")), help="make runs anew, also done ones")
        add("--status", action="store_true", help="show what is done, running, failed, waiting; run nothing")
        add("--dry-run", action="store_true", help="print the commands; run nothing")

    def error(self, message: str):
        raise UserError(f"{message}; --help says what there is, options of the configuration come after --")

    def parse(self, argv: list[str]) -> argparse.Namespace:
        """Raises UserError for a flag that is unknown, and for options that are no pairs."""
        cut = argv.index("--") if "--" in argv else len(argv)
        found = self.parse_intermixed_args(argv[:cut])
        found.options = pairs(argv[cut + 1 :])
        found.slurm = None if found.slurm is None else dict(key_value("--slurm", word) for word in found.slurm)
        return found


def pairs(words: list[str]) -> Options:
    if len(words) % 2:
        raise UserError(f"after -- come pairs KEY VALUE; found {len(words)} words: {' '.join(words)}")
    return tuple(zip(words[::2], words[1::2], strict=True))


def key_value(flag: str, word: str) -> tuple[str, str]:
    key, equals, value = word.partition("=")
    if not equals:
        raise UserError(f"{flag} takes KEY=VALUE, found '{word}'")
    return key, value


def main(name: str, argv: list[str]) -> int:
    parser, protocol = Parser(add_help=False), PROTOCOLS[name]
    parser.add_argument("words", nargs="*")
    parser.add_argument("-h", "--help", action="store_true")
    line = parser.parse(argv)
    if line.help:
        print(usage(name))
        return 0
    place = Place.from_environment()
    try:
        inspect.signature(protocol).bind(line.options, place, *line.words)
    except TypeError:  # too few or too many words
        print(usage(name), file=sys.stderr)
        return 2
    return execute(protocol(line.options, place, *line.words), place, line)


def execute(plan: Plan, place: Place, flags: argparse.Namespace) -> int:
    """Checks every name of the plan before anything runs, launches it, and prints its table."""
    launcher = launcher_of(plan.name, plan.runs, place, flags, plan.jobs, plan.threads)
    if look_only(launcher, flags):
        return 0
    refuse_without_set_up()
    code = launcher.run()
    done = [str(entry.run.results(place)) for entry in launcher.status.of(DONE) if entry.run in plan.runs]
    if plan.report and done and not launcher.interrupts.number:
        shown = report([*(done if plan.alone else ()), *plan.report])
        return code or shown
    return code


def launcher_of(name, runs: list[Run], place, flags, jobs: int = 1, threads: int | None = None) -> "Launcher | Slurm":
    """What executes the runs as the flags say. Raises UserError for names that there are not."""
    runs = with_sources(runs)
    choices.check(runs)
    if flags.slurm is not None:
        count = jobs_of(flags.jobs) if flags.jobs else 0
        return Slurm(runs, place, name, flags.slurm, count, flags.per_gpu, flags.force)
    gpus = visible_gpus() if flags.per_gpu else []
    count = jobs_of(flags.jobs or str(len(gpus) * flags.per_gpu or jobs))
    return Launcher(runs, place, count, threads, gpus=gpus, force=flags.force)


def look_only(launcher, flags: argparse.Namespace) -> bool:
    """Whether the flags ask for nothing but the commands, or the table, which are printed."""
    status: Status = launcher.status
    if flags.dry_run:
        print("\n".join(status.commands(flags.force)))
    elif flags.status:
        launcher.look()
        print(status.text())
    return flags.dry_run or flags.status


def jobs_of(text: str) -> int:
    """Raises UserError unless it is a whole number of at least 1."""
    if not text.isdigit() or int(text) < 1:
        raise UserError(f"JOBS is the number of runs side by side, 1 or more; found '{text}'")
    return int(text)


def report(arguments) -> int:
    """The exit code of scripts/report.py with these arguments."""
    sys.stdout.flush()
    return subprocess.run([sys.executable, "scripts/report.py", *arguments], cwd=ROOT).returncode


def refuse_without_set_up():
    """scripts/_common.sh lets any Python answer questions; to run something the packages are needed."""
    if os.environ.get("SHIP_NO_ENVIRONMENT"):
        raise UserError(os.environ["SHIP_NO_ENVIRONMENT"])
