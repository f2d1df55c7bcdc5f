"""Makes runs as arrays of Slurm jobs, through submitit.

Shortly before its time is over, and when it is preempted, a job's run saves a checkpoint, and it goes back into the
queue; there it goes on. The script only submits: called again, it submits what is neither done nor queued.
"""

import json
import os
import shlex
import subprocess
import sys

from .launcher import Launcher
from .runs import ROOT, Run

HANDS_BACK = 1000  # times that a job may whose time is over
PYTHONPATH = f"{ROOT}/scripts:{ROOT}/third_party:{ROOT}"


class Job:
    """What a job does: one run."""

    def __init__(self, run: Run, force: bool):
        self.run, self.force = run, force

    def __call__(self):
        began = os.environ.get("SLURM_RESTART_COUNT", "0") != "0"  # before a node failed: what it left is its own
        self.launcher = Launcher([self.run], [""], self.force and not began)
        sys.exit(self.launcher.run())

    def checkpoint(self):
        """submitit calls it at the signal by which Slurm announces the end, then puts the job back into the queue."""
        from submitit.helpers import DelayedSubmission

        self.launcher.stop()
        return DelayedSubmission(Job(self.run, force=False))  # what was forced has begun anew already


class Slurm(Launcher):
    """`options`: those of sbatch, with _ for -."""

    def __init__(self, found: list[Run], gpus: list[str], force: bool, options: dict[str, str]):
        super().__init__(found, gpus, force)
        self.options = {"time": "4:00:00", "requeue": True, **options}
        self.folder = ROOT / found[0].output / "slurm"
        self.record = self.folder / "jobs.json"  # {folder of a run: the job that makes it}
        self.ids: dict[str, str] = json.loads(self.record.read_text()) if self.record.exists() else {}

    def make(self, waiting: list[Run]):
        """Submits what is not queued yet. A run that starts from a source waits until the jobs of the sources end."""
        import submitit

        queued = queue()
        new = [run for run in waiting if self.ids.get(run.folder) not in queued]
        if not new:
            return
        if before := {self.ids.get(run.source.folder) for run in new if run.source} & queued:
            self.options["dependency"] = ":".join(["afterany", *sorted(before)])
        executor = submitit.AutoExecutor(self.folder, cluster="slurm", slurm_max_num_timeout=HANDS_BACK)
        executor.update_parameters(
            name="ship",
            stderr_to_stdout=True,
            slurm_array_parallelism=self.jobs if self.jobs > 1 else len(new),
            slurm_setup=[f"export PYTHONPATH={shlex.quote(PYTHONPATH)}"],
            slurm_additional_parameters=self.options,
        )
        with executor.batch():
            jobs = [executor.submit(Job(run, self.force)) for run in new]
        self.ids.update({run.folder: job.job_id for run, job in zip(new, jobs)})
        self.record.write_text(json.dumps(self.ids, indent=1))
        print(f"submitted {len(new)} jobs as {jobs[0].job_id.partition('_')[0]}; the same command tells what is done")


def queue() -> set[str]:
    """Our jobs that Slurm still has."""
    command = ["squeue", "--me", "--noheader", "--array", "--format=%i"]
    return {*subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.split()}
