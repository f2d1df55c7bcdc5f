"""The command line of the bash scripts: python scripts/protocol.py NAME ARGUMENTS... [-- KEY VALUE ...]"""

import os
import subprocess
import sys
from dataclasses import dataclass, field

from . import choices
from .launch import Launcher, jobs_of
from .protocols import PROTOCOLS, Plan, usage, variable
from .run import ROOT, Options, Place, UserError


@dataclass
class Line:
    """A command line, taken apart."""

    words: list[str] = field(default_factory=list)
    options: Options = ()
    jobs: str = ""
    dry_run: bool = False
    help: bool = False


def parse(argv: list[str]) -> Line:
    """Raises UserError for a flag that is unknown and for options that are no pairs."""
    cut = argv.index("--") if "--" in argv else len(argv)
    line, own, after = Line(), list(argv[:cut]), argv[cut + 1 :]
    while own:
        word = own.pop(0)
        if word in ("-h", "--help"):
            line.help = True
        elif word == "--dry-run":
            line.dry_run = True
        elif word == "--jobs" or word.startswith("--jobs="):
            line.jobs = word.partition("=")[2] or (own.pop(0) if own else "nothing")
        elif word.startswith("-"):
            raise UserError(f"unknown flag '{word}'; there are --help, --dry-run and --jobs N; options come after --")
        else:
            line.words.append(word)
    line.options = pairs(after)
    return line


def pairs(words: list[str]) -> Options:
    if len(words) % 2:
        raise UserError(f"after -- come pairs KEY VALUE; found {len(words)} words: {' '.join(words)}")
    return tuple(zip(words[::2], words[1::2], strict=True))


def main(name: str, argv: list[str]) -> int:
    line, protocol = parse(argv), PROTOCOLS[name]
    if line.help:
        print(usage(name))
        return 0
    if not protocol.least <= len(line.words) <= protocol.most:
        print(usage(name), file=sys.stderr)
        return 2
    place = Place.from_environment()
    plan = protocol.plan(line.words, line.options, place)
    return execute(plan, place, line.jobs, line.dry_run)


def execute(plan: Plan, place: Place, jobs: str = "", dry_run: bool = False) -> int:
    """Checks every name of the plan before anything runs, launches it, and prints its table."""
    choices.check(plan.runs)
    count = jobs_of(jobs or variable("JOBS", str(plan.jobs)))
    launcher = Launcher(plan.runs, place, count, plan.threads, plan.name)
    if dry_run:
        print("\n".join(launcher.commands()))
        return 0
    refuse_without_set_up()
    code = launcher.run()
    done = [str(run.results(place)) for run in plan.runs if run.done(place)]
    if plan.report and done and not launcher.stopped:
        shown = report([*(done if plan.alone else ()), *plan.report])
        return code or shown
    return code


def report(arguments) -> int:
    """The exit code of scripts/report.py with these arguments."""
    sys.stdout.flush()
    return subprocess.run([sys.executable, "scripts/report.py", *arguments], cwd=ROOT).returncode


def refuse_without_set_up():
    """scripts/_common.sh lets any Python answer questions; to run something the packages are needed."""
    if os.environ.get("SHIP_NO_ENVIRONMENT"):
        raise UserError(os.environ["SHIP_NO_ENVIRONMENT"])


def say_errors(function, *arguments) -> int:
    """The function's exit code; of a UserError the message alone is shown, exit code 2."""
    try:
        return function(*arguments)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # as in `... --help | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + 13
