"""Executes a list of runs as arrays of Slurm jobs, through submitit.

A job makes one run, or with `per_gpu` as many for each of its GPUs. Shortly before its time is over its runs save a
checkpoint, and it goes back into the queue; there it goes on. The script that submits follows its jobs, but they do not
need it: called again, it follows those that are in the queue still, and submits what is neither there nor done.
"""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

from .child import log_of
from .interrupts import Interrupts
from .launch import Launcher, visible_gpus
from .run import ROOT, Place, Run, UserError
from .status import DONE, FAILED, RUNNING, STALE, WAITING, Entry, Status, clock

MINUTES = "240"  # of a job, unless `time` says otherwise; one that needs more hands itself back
HANDS_BACK = 1000  # times that a job may
LARGEST = 1000  # jobs of an array; Slurm's limit is 1001, unless a cluster has another
SLOWEST = 20.0  # seconds between two looks at the queue
GPU_OPTIONS = ("gpus_per_node", "gpus_per_task", "gpus", "gres")


class Job:
    """What a job does: its runs, side by side on its GPUs. A run whose source is not done fails."""

    def __init__(self, runs: list[Run], place: Place, per_gpu: int, force: bool):
        self.runs, self.place, self.per_gpu, self.force = runs, place, per_gpu, force

    def __call__(self):
        gpus = visible_gpus() if self.per_gpu else []
        force = self.force and not int(os.environ.get("SLURM_RESTART_COUNT") or 0)
        jobs = max(1, len(gpus) * self.per_gpu)
        self.launcher = Launcher(self.runs, self.place, jobs, echo=False, gpus=gpus, force=force)
        if code := self.launcher.run():
            sys.exit(code)

    def checkpoint(self):
        """submitit calls it at the signal by which Slurm announces the end, then puts the job back into the queue."""
        from submitit.helpers import DelayedSubmission

        self.launcher.end_children()
        return DelayedSubmission(Job(self.runs, self.place, self.per_gpu, force=False))


class Slurm:
    """Has the face of a Launcher. `options`: those of sbatch, with _ for -; `time` in any of its forms. `jobs`: so many
    at once, 0: as many as the cluster gives."""

    def __init__(self, runs: list[Run], place: Place, name: str, options: dict, jobs=0, per_gpu=0, force=False):
        self.status, self.place, self.name, self.jobs = Status(runs, place), place, name, jobs
        self.per_gpu, self.force = per_gpu, force
        self.minutes = minutes(options.get("time", MINUTES))
        self.options = {key: value for key, value in options.items() if key != "time"}
        self.folder = ROOT / place.output / "slurm" / name
        self.record = self.folder / "jobs.json"
        self.made_by: dict[str, str] = read_record(self.record)
        self.gone: set[str] = set()  # jobs that were not in the queue at the last look
        self.interrupts = Interrupts()

    def run(self) -> int:
        """Exit code: Status.conclusion."""
        queued = queue()
        if queued is None:
            raise UserError("--slurm: squeue does not answer; without --slurm the runs are processes of this machine")
        self.status.look_at_all()
        with self.interrupts:
            self._submit([entry for entry in self.status.entries if self._wants_a_job(entry, queued)], queued)
            pause = 0.5
            while self._unfinished() and not self.interrupts.number:
                self._look(tell=True)
                self.interrupts.wait(pause)
                pause = min(SLOWEST, 1.2 * pause)
        if not self.interrupts.number:
            return self.status.conclusion()
        arrays = " ".join(sorted({self._job(entry).partition("_")[0] for entry in self._unfinished()}))
        print(f"the jobs go on; the same command follows them, scancel {arrays} ends them", file=sys.stderr)
        return 128 + self.interrupts.number

    def look(self):
        """Takes the table from the files of the runs and from the queue."""
        self.status.look_at_all()
        for _ in range(2):
            self._look(tell=False)

    def _unfinished(self) -> list[Entry]:
        return self.status.of(WAITING, RUNNING)

    def _look(self, tell: bool):
        queued = queue()
        for entry in self._unfinished() if queued is not None else ():
            before, job = entry.state, self._job(entry)
            state = queued.get(job)
            self.status.look(entry)
            if state and (self.force or entry.state in (WAITING, RUNNING)):
                entry.state = RUNNING if state == "RUNNING" else WAITING
            elif entry.state in (WAITING, RUNNING) and job in self.gone:  # twice: shared folders lag behind
                entry.state, entry.code = FAILED, 1
                entry.line = f"its job {job} ended before it; {self.folder}/{job}_0_log.out" if job else "no job has it"
            if not state:
                self.gone.add(job)
            if tell and entry.state in (FAILED, STALE):
                self.status.complain(entry, entry.line, [])
            elif tell and entry.state != before:
                said = entry.line if entry.state == DONE else f"{entry.state}, job {job}"
                self.status.say(entry, f"{said}  ({self.status.progress(len(self.status.of(RUNNING)))})")

    def _job(self, entry: Entry) -> str:
        return self.made_by.get(entry.run.folder(self.place), "")

    def _wants_a_job(self, entry: Entry, queued: dict[str, str]) -> bool:
        if self._job(entry) in queued:
            entry.state = WAITING if self.force else entry.state
            return False
        if entry.state in (DONE, STALE) and not self.force:
            return False
        entry.state, entry.line, entry.code = WAITING, "", 0
        log_of(entry.run, self.place).unlink(missing_ok=True)  # what it says of an earlier end
        return True

    # ------------------------------------------------------------------------------------------------ submitting

    def _submit(self, entries: list[Entry], queued: dict[str, str]):
        """What starts from a source waits until the source's job has ended."""
        first = [entry.run for entry in entries if not entry.run.source]
        then = [entry.run for entry in entries if entry.run.source]
        self._arrays(first, "")
        sources = {self.made_by.get(run.source.folder(self.place), "") for run in then}
        alive = sorted(sources & {*queued, *(self.made_by[run.folder(self.place)] for run in first)})
        self._arrays(then, ":".join(["afterany", *alive]) if alive else "")

    def _arrays(self, runs: list[Run], dependency: str):
        size = self.per_gpu * gpus_of(self.options) or 1
        groups = [runs[start : start + size] for start in range(0, len(runs), size)]
        for start in range(0, len(groups), LARGEST):
            some = groups[start : start + LARGEST]
            jobs = self._array([Job(group, self.place, self.per_gpu, self.force) for group in some], dependency)
            for job, group in zip(jobs, some, strict=True):
                self.made_by.update({run.folder(self.place): job for run in group})
            part = self.record.with_suffix(".part")
            part.write_text(json.dumps(self.made_by, indent=1))
            os.replace(part, self.record)
            array, most = jobs[0].partition("_")[0], clock(60 * self.minutes)
            print(f"submitted {len(some)} jobs as {array}, at most {most} each", flush=True)

    def _array(self, jobs: list[Job], dependency: str) -> list[str]:
        """The numbers of the jobs, submitted as one array."""
        try:
            import submitit
        except ImportError:
            raise UserError(
                "--slurm needs the package submitit, which is not there; run  bash scripts/setup.sh"
            ) from None
        given = {"requeue": True, **({"dependency": dependency} if dependency else {}), **self.options}
        try:
            executor = submitit.SlurmExecutor(self.folder, max_num_timeout=HANDS_BACK)
            executor.update_parameters(
                job_name=self.name,
                time=self.minutes,
                array_parallelism=self.jobs or LARGEST,
                stderr_to_stdout=True,
                setup=[f"export PYTHONPATH={shlex.quote(str(ROOT / 'scripts'))}"],
                additional_parameters=given,
            )
            with executor.batch():
                submitted = [executor.submit(job) for job in jobs]
        except (RuntimeError, ValueError) as error:  # what submitit makes of sbatch's refusals
            raise UserError(f"--slurm: {error}") from None
        return [job.job_id for job in submitted]


def queue() -> dict[str, str] | None:
    """{job: its state, such as PENDING or RUNNING} of our jobs that Slurm still has; None where it does not answer."""
    command = ["squeue", "--me", "--noheader", "--array", "--format=%i %T"]
    try:
        listed = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    return dict(line.split(maxsplit=1) for line in listed.splitlines() if line.strip())


def read_record(path: Path) -> dict[str, str]:
    """{folder of a run: its job} of earlier calls."""
    try:
        return json.loads(path.read_text()) if path.exists() else {}
    except ValueError as error:
        why = f"{path} is damaged ({error})"
        raise UserError(f"{why}; delete it, after  squeue --me  shows no job of this list") from None


def minutes(text: str) -> int:
    """Of sbatch's --time: minutes, minutes:seconds, hours:minutes:seconds, days-hours[:minutes[:seconds]]."""
    if not re.fullmatch(r"(\d+-)?\d+(:\d+){0,2}", text):
        raise UserError(f"time is minutes, hours:minutes:seconds or days-hours:minutes:seconds; found '{text}'")
    days, dash, rest = text.rpartition("-")
    numbers = [int(word) for word in rest.split(":")]
    if not dash and len(numbers) < 3:
        numbers = [0, *numbers]  # hours come first only with days, or with seconds behind them
    hours, mins, seconds = (*numbers, 0, 0)[:3]
    return max(1, int(days or 0) * 1440 + hours * 60 + mins + (seconds > 0))


def gpus_of(options: dict[str, str]) -> int:
    """The GPUs of a job, as its options say: gpus_per_node=2, gres=gpu:a100:2."""
    given = next((options[key] for key in GPU_OPTIONS if key in options), "1")
    return int(found.group()) if (found := re.search(r"\d+$", given)) else 1
