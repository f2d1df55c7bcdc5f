"""A Slurm of two processors, for tests: sbatch, srun, squeue and scontrol as one small program under four names.

It knows what scripts/lib/slurm.py uses: arrays, afterany, the time limit's signal (`announce_the_end`), requeueing.
"""

import os
import signal
import sys
from pathlib import Path

PROGRAM = r"""#!{python}
import contextlib, fcntl, os, re, subprocess, sys, time
from pathlib import Path

STATE, NAME, words = Path({state!r}), Path(sys.argv[0]).name, sys.argv[1:]


@contextlib.contextmanager
def changing():
    "Jobs change their state one after another: none reads what another is writing."
    with (STATE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def takes_its_turn(state, dependency):
    "Whether what it depends on has ended, and a processor was free, and no job before it waits; then it runs."
    with changing():
        states = {{path.stem: path.read_text() for path in sorted(STATE.glob("*.state"))}}
        waiting = [job for job, value in states.items() if value == "PENDING"]
        if {{*dependency}} & {{*states}} or waiting[0] != state.stem or [*states.values()].count("RUNNING") >= 2:
            return False
        state.write_text("RUNNING")
        return True


def task(script, job, dependency):
    "One job: waits for its turn, runs, and runs again as often as it was requeued."
    state, requeued, (array, _, index) = STATE / f"{{job}}.state", STATE / f"{{job}}.requeue", job.partition("_")
    environment = dict(os.environ, SLURM_JOB_ID=array)
    if index:
        environment.update(SLURM_ARRAY_JOB_ID=array, SLURM_ARRAY_TASK_ID=index)
    while True:
        while not takes_its_turn(state, dependency):
            time.sleep(0.05)
        subprocess.run(["bash", script], env=environment, start_new_session=True)
        with changing():
            if not requeued.exists():
                return state.unlink()
            requeued.unlink()
            state.write_text("PENDING")


if NAME == "sbatch":
    text = Path(words[0]).read_text()
    array = str(100 + len(list(STATE.glob("*.script"))))
    script = STATE / f"{{array}}.script"
    script.write_text(text)
    found = re.search(r"--array=0-(\d+)", text)
    after = re.search(r"--dependency='?afterany:([\d_:]+)", text)
    jobs = [f"{{array}}_{{index}}" for index in range(int(found.group(1)) + 1)] if found else [array]
    with changing():
        for job in jobs:
            (STATE / f"{{job}}.state").write_text("PENDING")
    print(f"Submitted batch job {{array}}", flush=True)
    for job in jobs:
        if os.fork() == 0:
            os.setsid()
            quiet = os.open(os.devnull, os.O_RDWR)
            for descriptor in (0, 1, 2):
                os.dup2(quiet, descriptor)
            task(str(script), job, after.group(1).split(":") if after else [])
            os._exit(0)
elif NAME == "squeue":
    print(*(path.stem for path in STATE.glob("*.state")), sep="\n")
elif NAME == "scontrol":
    (STATE / f"{{words[1]}}.requeue").touch()
elif NAME == "srun":
    path = words[words.index("--output") + 1].replace("%t", "0")
    for name, variable in (("%j", "JOB_ID"), ("%A", "ARRAY_JOB_ID"), ("%a", "ARRAY_TASK_ID")):
        path = path.replace(name, os.environ.get(f"SLURM_{{variable}}", ""))
    output = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(output, 1)
    os.dup2(output, 2)
    command = words[words.index("--output") + 2 :]
    (STATE / f"{{Path(path).name.removesuffix('_0_log.out')}}.pid").write_text(str(os.getpid()))
    os.execvp(command[0], command)
"""


class FakeSlurm:
    """In `folder`, for whoever has `folder`/bin in front of its PATH."""

    def __init__(self, folder: Path):
        self.bin, self.state = folder / "bin", folder / "state"
        self.bin.mkdir(parents=True)
        self.state.mkdir()
        for name in ("sbatch", "srun", "squeue", "scontrol"):
            (self.bin / name).write_text(PROGRAM.format(python=sys.executable, state=str(self.state)))
            (self.bin / name).chmod(0o755)

    def submitted(self) -> list[str]:
        """The submitted files."""
        return [path.read_text() for path in sorted(self.state.glob("*.script"))]

    def announce_the_end(self, job: str):
        """The signal that a job gets shortly before its time is over."""
        os.kill(int((self.state / f"{job}.pid").read_text()), signal.SIGUSR2)

    def is_empty(self) -> bool:
        return not any(self.state.glob("*.state"))
