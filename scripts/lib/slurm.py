"""Executes a launcher's runs as arrays of Slurm jobs, through submitit.

A job calls scripts/launch.py for its run, or with `per_gpu` for as many as its GPUs take. Shortly before its time is
over, and when it is preempted, its runs save a checkpoint, and it goes back into the queue; there it goes on. The
script that submits follows its jobs, but they do not need it: called again, it follows those that are queued still.
"""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time

from trainers.core.files import UserError, replacing

from .runs import FAILED, ROOT, WAITING, Run, State, state_of

TIME = "4:00:00"  # of a job, unless the options say otherwise; one that needs more hands itself back
HANDS_BACK = 1000  # times that a job may
SLOWEST = 20.0  # seconds between two looks at the queue


class Job:
    """What a job does: a command, as a process of its own. The signal that announces the end is not for that one."""

    def __init__(self, command: list[str]):
        self.command = command

    def __call__(self):
        ignore = (signal.SIGUSR2, signal.SIG_IGN)
        self.process = subprocess.Popen(self.command, preexec_fn=lambda: signal.signal(*ignore))
        while self.process.poll() is None:
            time.sleep(0.2)
        sys.exit(self.process.returncode)

    def checkpoint(self):
        """submitit calls it at the signal by which Slurm announces the end, then puts the job back into the queue."""
        from submitit.helpers import DelayedSubmission

        self.process.terminate()
        os.waitid(os.P_PID, self.process.pid, os.WEXITED | os.WNOWAIT)  # __call__, which this interrupts, reaps it
        return DelayedSubmission(Job(self.command))


class Slurm:
    """`words`: those of the launcher's command line. `options`: those of sbatch, with _ for -."""

    def __init__(self, launcher, words: list[str], options: dict[str, str], per_gpu: int = 0):
        self.launcher, self.words = launcher, words
        self.options = {"time": TIME, **options}
        self.size = per_gpu * gpus_of(options) or 1  # runs of a job
        self.folder = ROOT / launcher.runs[0].output / "slurm"
        self.record = self.folder / "jobs.json"  # {folder of a run: the job that makes it}
        self.jobs: dict[str, str] = json.loads(self.record.read_text()) if self.record.exists() else {}

    def run(self) -> int:
        """Submits what is neither done nor queued, and follows the jobs. -> the launcher's exit status"""
        launcher, queued = self.launcher, queue()
        launcher.obey_signals()
        unfinished = launcher.unfinished()
        new = [run for run in unfinished if self.jobs.get(run.folder) not in queued]
        self.submit([run for run in new if not run.source])
        self.submit([run for run in new if run.source])
        self.follow(unfinished)
        if launcher.signals:
            arrays = " ".join({job.partition("_")[0] for job in self.jobs.values() if job in queue()})
            print(f"the jobs go on; the same command follows them, scancel {arrays} ends them", file=sys.stderr)
        return launcher.conclude()

    def submit(self, runs: list[Run]):
        """A run that starts from a source waits until the jobs of the sources have ended."""
        import submitit

        groups = [runs[start : start + self.size] for start in range(0, len(runs), self.size)]
        if not groups:
            return
        options = {"requeue": True, **self.options}
        if before := {self.jobs.get(run.source.folder, "") for run in runs if run.source} & queue():
            options["dependency"] = ":".join(["afterany", *sorted(before)])
        try:
            executor = submitit.AutoExecutor(self.folder, cluster="slurm", slurm_max_num_timeout=HANDS_BACK)
            executor.update_parameters(
                name="ship",
                stderr_to_stdout=True,
                slurm_array_parallelism=self.launcher.jobs if self.launcher.jobs > 1 else len(groups),
                slurm_setup=["export PYTHONPATH=" + shlex.quote(f"{ROOT}/scripts:{ROOT}")],
                slurm_additional_parameters=options,
            )
            with executor.batch():
                jobs = [executor.submit(Job(self.command_for(group))) for group in groups]
        except (RuntimeError, ValueError) as error:  # what submitit makes of sbatch's refusals
            raise UserError(f"--slurm: {error}") from None
        for job, group in zip(jobs, groups):
            self.jobs.update({run.folder: job.job_id for run in group})
        with replacing(self.record) as part:
            part.write_text(json.dumps(self.jobs, indent=1))
        print(f"submitted {len(groups)} jobs as {jobs[0].job_id.partition('_')[0]}", flush=True)

    def command_for(self, runs: list[Run]) -> list[str]:
        only = [f"--only={run.folder}" for run in runs]
        return [sys.executable, str(ROOT / "scripts/launch.py"), *only, *self.words]

    def follow(self, runs: list[Run]):
        """Reports each run once its job has left the queue, until a signal comes."""
        pause = 0.5
        while runs and not self.launcher.signals:
            queued = queue()
            time.sleep(pause)  # shared folders lag behind the queue
            pause = min(SLOWEST, 1.2 * pause)
            for run in [run for run in runs if self.jobs[run.folder] not in queued]:
                state = state_of(run)
                if state.name == WAITING:
                    state = State(FAILED, f"its job {self.jobs[run.folder]} ended before it; see {self.folder}")
                self.launcher.report(run, state, f"job {self.jobs[run.folder]}")
                runs.remove(run)


def queue() -> set[str]:
    """Our jobs that Slurm still has. Raises UserError where it does not answer."""
    command = ["squeue", "--me", "--noheader", "--array", "--format=%i"]
    try:
        listed = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        raise UserError("--slurm: squeue does not answer; leave --slurm out for processes of this machine") from None
    return {line.split()[0] for line in listed.splitlines() if line.strip()}


def gpus_of(options: dict[str, str]) -> int:
    """The GPUs of a job, as its options say: gpus_per_node=2, gres=gpu:a100:2."""
    given = next((options[key] for key in ("gpus_per_node", "gpus_per_task", "gpus", "gres") if key in options), "1")
    return int(count.group()) if (count := re.search(r"\d+$", given)) else 1
