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


def alive(dependency):
    return [job for job in dependency if any(STATE.glob(f"{{job}}.state"))]


@contextlib.contextmanager
def changing():
    "Jobs change their state one after another: none reads what another is writing."
    with (STATE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def takes_its_turn(state, array, index):
    "Whether a processor was free and no job of the array in front of this one still waits; then it runs."
    with changing():
        states = {{one.stem: one.read_text() for one in STATE.glob("*.state")}}
        earlier = [states.get(f"{{array}}_{{one}}") for one in range(index or 0)]
        if "PENDING" in earlier or list(states.values()).count("RUNNING") >= 2:
            return False
        state.write_text("RUNNING")
        return True


def task(script, array, index, dependency):
    "One job: waits for its turn, runs, and runs again as often as it was requeued."
    job = f"{{array}}_{{index}}" if index is not None else array
    state, requeued, restarts = STATE / f"{{job}}.state", STATE / f"{{job}}.requeue", 0
    environment = dict(os.environ, SLURM_JOB_ID=array)
    if index is not None:
        environment.update(SLURM_ARRAY_JOB_ID=array, SLURM_ARRAY_TASK_ID=str(index))
    while True:
        while alive(dependency) or not takes_its_turn(state, array, index):
            time.sleep(0.05)
        subprocess.run(["bash", script], env=environment, start_new_session=True)
        with changing():
            if not requeued.exists():
                return state.unlink()
            requeued.unlink()
            state.write_text("PENDING")
        restarts += 1
        environment["SLURM_RESTART_COUNT"] = str(restarts)


if NAME == "sbatch":
    text = Path(words[0]).read_text()
    array = str(100 + len(list(STATE.glob("*.script"))))
    script = STATE / f"{{array}}.script"
    script.write_text(text)
    found = re.search(r"--array=0-(\d+)", text)
    after = re.search(r"--dependency='?afterany:([\d_:]+)", text)
    dependency = after.group(1).split(":") if after else []
    indices = range(int(found.group(1)) + 1) if found else [None]
    with changing():
        for index in indices:
            (STATE / (f"{{array}}_{{index}}.state" if found else f"{{array}}.state")).write_text("PENDING")
    print(f"Submitted batch job {{array}}", flush=True)
    for index in indices:
        if os.fork() == 0:
            os.setsid()
            quiet = os.open(os.devnull, os.O_RDWR)
            for descriptor in (0, 1, 2):
                os.dup2(quiet, descriptor)
            task(str(script), array, index, dependency)
            os._exit(0)
elif NAME == "squeue":
    with changing():
        for state in sorted(STATE.glob("*.state")):
            print(state.stem)
elif NAME == "scontrol":
    (STATE / f"{{words[1]}}.requeue").touch()
elif NAME == "srun":
    values = dict(SLURM_JOB_ID="", SLURM_ARRAY_JOB_ID="", SLURM_ARRAY_TASK_ID="")
    values.update(os.environ)
    path = words[words.index("--output") + 1].replace("%j", values["SLURM_JOB_ID"]).replace("%t", "0")
    path = path.replace("%A", values["SLURM_ARRAY_JOB_ID"]).replace("%a", values["SLURM_ARRAY_TASK_ID"])
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
