"""A copy of the repository, tiny runs in it as processes of their own, and the comparison with runs left alone."""

import atexit
import contextlib
import functools
import json
import os
import runpy
import shutil
import signal
import subprocess
import sys
import time
import traceback
from dataclasses import dataclass
from pathlib import Path

from ..run import ROOT, config_files

COPIED = ("configs", "datasets", "scripts", "third_party", "trainers", "train.py")
LIMIT, GRACE = 180.0, 15.0  # seconds that a run may take, and that processes of a killed one may outlive it
SMALL = (
    "OPTIM.MAX_EPOCH 3 DATALOADER.TRAIN_X.BATCH_SIZE 8 DATASET.NUM_SHOTS 2 TRAIN.CHECKPOINT_SECONDS 0.0 VERBOSE False "
    "DATALOADER.NUM_WORKERS 1 FEATURES.VIEWS 1"
).split()
SHIP = "TRAINER.SHIP.EPOCHS 3 TRAINER.SHIP.BATCH_SIZE 8 TRAINER.SHIP.HIDDEN_DIM 32".split()
GAN = "TRAINER.F_VAEGAN.HIDDEN_DIM 16 TRAINER.F_VAEGAN.EPOCHS 3 TRAINER.F_VAEGAN.SYNTHETIC 5".split()
KINDS = {  # what is run: its trainer and the options that make it quick
    "CoOp": ("CoOp", []),
    "CoOp_SHIP": ("CoOp_SHIP", SHIP),
    "Tip_Adapter_F_SHIP": ("Tip_Adapter_F_SHIP", SHIP),
    "f_VAEGAN": ("f_VAEGAN", GAN),
    "PVA": ("PVA", []),
    "CoOp_GATE": ("CoOp_GATE", []),
    "best epoch": ("CoOp", ["TEST.FINAL_MODEL", "best_val"]),
    "images": ("CoOp", ["TASK", "fewshot"]),
    "extraction": ("", []),
    "sweep": ("CoOp", []),
}
SWEEP = """task: base2new
cfg: miniclip
datasets: [eurosat]
seeds: [1, 2]
shots: 2
variants: [{trainer: CoOp}]
"""


@dataclass
class Done:
    """How a process ended. `left`: processes that outlived it."""

    code: int
    text: str
    hung: bool = False
    left: int = 0

    @property
    def last(self) -> str:
        lines = [line for line in self.text.splitlines() if line.strip()]
        said = [line for line in lines if line.startswith("error:")]
        return (said or lines or [f"exit code {self.code}"])[-1][:200]

    @property
    def fault(self) -> str:
        """What no program should do to its user; "" where it ended in order."""
        if self.hung:
            return f"no end after {LIMIT:.0f} s"
        if "Traceback (most recent call last)" in self.text:
            return f"traceback: {self.last}"
        if self.left:
            return f"{self.left} processes left behind"
        longest = max((len(line) for line in self.text.splitlines() if line.startswith("error:")), default=0)
        if longest > 10_000:
            return f"a message of {longest:,} characters"
        if self.code < 0:
            return f"ended by signal {-self.code}"
        return "" if self.code == 0 or self.text.strip() else f"exit code {self.code} without a word"


class Process:
    """A program of the lab's repository, forked from this one, in which PyTorch is loaded already. `prepare` is called
    in it before it starts. `fresh`: started as a user would instead, with these changes of the environment."""

    def __init__(self, root, words, log, prepare=None, fresh=None, **popen):
        self.log, self.mark = Path(log), f"CHAOS_OF={log}" if fresh is not None else ""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        if fresh is not None:
            environment = {
                key: value for key, value in {**os.environ, "CHAOS_OF": str(log), **fresh}.items() if value is not None
            }
            with open(self.log, "ab") as file:
                popen = {"stdout": file, "stderr": file, "stdin": subprocess.DEVNULL, "cwd": root, **popen}
                command = [sys.executable, *map(str, words)]
                self.popen = subprocess.Popen(command, env=environment, start_new_session=True, **popen)
            self.pid = self.popen.pid
            return
        sys.stdout.flush()
        self.popen, self.pid = None, os.fork()
        if not self.pid:
            _become(root, [str(word) for word in words], self.log, prepare)

    def poll(self):
        """The exit code, negative for a signal; None while it runs."""
        if self.popen:
            return self.popen.poll()
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        return os.waitstatus_to_exitcode(status) if pid else None

    def kill(self):
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)

    def wait(self, limit=LIMIT) -> Done:
        end, hung = time.monotonic() + limit, False
        while (code := self.poll()) is None:
            time.sleep(0.01)
            if time.monotonic() > end and not hung:
                hung = True
                self.kill()
        end = time.monotonic() + GRACE
        while (left := members(self.pid, self.mark)) and time.monotonic() < end:
            time.sleep(0.05)
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return Done(code, self.log.read_text(encoding="utf-8", errors="replace"), hung, len(left))


def members(session: int, mark: str) -> list[int]:
    """Living processes of a session, or with `mark` in their environment (Linux)."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _, _, own = stat.read_text().rpartition(")")[2].split()[:4]
            marked = mark and mark.encode() in (stat.parent / "environ").read_bytes().split(b"\0")
            if state != "Z" and (int(own) == session or marked):
                found.append(int(stat.parent.name))
    return found


def _become(root, words, log, prepare):
    """In the forked process: the program `words`, and its end. Never returns."""
    code = 1
    try:
        os.setsid()
        os.chdir(root)
        for number, path, flags in ((0, os.devnull, os.O_RDONLY), (1, log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)):
            os.dup2(os.open(path, flags, 0o644), number)
        os.dup2(1, 2)
        sys.stdout, sys.stderr = (open(n, "w", encoding="utf-8", buffering=1, closefd=False) for n in (1, 2))
        for name in [name for name in sys.modules if name.split(".")[0] in ("lib", "_path")]:
            del sys.modules[name]  # the copy's own are to be loaded
        sys.argv, sys.path[0] = words, str(Path(root, words[0]).parent)
        atexit._clear()
        if prepare:
            prepare()
        runpy.run_path(str(Path(root, words[0])), run_name="__main__")
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except KeyboardInterrupt:
        code = 130
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            atexit._run_exitfuncs()  # workers that load images end here
        with contextlib.suppress(Exception):
            sys.stdout.flush()
        os._exit(code)


class Lab:
    """`folder` takes the copy, the runs and their logs."""

    def __init__(self, folder):
        self.folder = Path(folder).resolve()
        self.root = self.folder / "repository"
        self.made, self.clean = 0, {}  # cases so far; what readers of undamaged files gave
        for name in COPIED:
            if (ROOT / name).is_dir():
                ignored = shutil.ignore_patterns("__pycache__")
                shutil.copytree(ROOT / name, self.root / name, ignore=ignored, dirs_exist_ok=True)
            else:
                shutil.copy2(ROOT / name, self.root / name)
        make_images(self.folder / "images")
        (self.folder / "sweep.yaml").write_text(SWEEP)
        os.environ["OMP_NUM_THREADS"] = "1"
        sys.path[:0] = [str(self.root / part) for part in ("scripts", ".", "third_party")]
        import torch

        import train  # noqa: F401  (once for all forked processes)

        torch.set_num_threads(1)

    def new(self, kind: str) -> Path:
        """A folder for one case's runs."""
        self.made += 1
        return self.folder / "cases" / f"{self.made:04d}-{kind.replace(' ', '_')}"

    def command(self, kind: str, out, *more) -> list[str]:
        """The program of a kind of run that writes into `out`; flags and options in `more`, in pairs, win."""
        pairs = list(zip(more[::2], more[1::2]))
        flags = [word for pair in pairs if str(pair[0]).startswith("--") for word in pair]
        options_of_case = [word for pair in pairs if not str(pair[0]).startswith("--") for word in pair]
        if kind == "extraction":
            words = ["--root", self.folder / "images", "--dataset", "imagefolder", "--views", "1", "--workers", "1"]
            return ["scripts/extract_features.py", *words, "--out", out / "bank.safetensors", *flags]
        trainer, options = KINDS[kind]
        if kind == "sweep":
            chosen = [word for key, value in zip(SMALL[::2], SMALL[1::2]) for word in ("--set", f"{key}={value}")]
            return ["scripts/sweep.py", self.folder / "sweep.yaml", *chosen]
        images = kind == "images"
        data = ["--root", self.folder / "images"] if images else []
        files = [word for path in config_files(trainer, "miniclip") for word in ("--config-file", path)]
        dataset = f"configs/datasets/{'imagefolder' if images else 'eurosat'}.yaml"
        return [
            *("train.py", "--trainer", trainer, "--seed", "1", "--output-dir", out, *data),
            *("--dataset-config-file", dataset, *files, *flags, "TASK", "base2new", *SMALL),
            *("FEATURES.DIR", f"{out}.features", *options, *options_of_case),
        ]

    def start(self, kind: str, out, *more, **how) -> Process:
        if kind == "sweep":  # its runs are processes of its own
            how["fresh"] = {"OUTPUT": str(out), **how.pop("fresh", {})}
        return self.program(self.command(kind, out, *more), out, **how)

    def program(self, words, out, **how) -> Process:
        return Process(self.root, words, Path(f"{out}.log"), **how)

    def run(self, kind: str, out, *more, **how) -> Done:
        return self.start(kind, out, *more, **how).wait()

    @functools.cache  # noqa: B019  (the lab lives as long as the program)
    def whole(self, kind: str, *more) -> tuple[Path, float]:
        """(folder, seconds) of a run of this kind that nothing disturbed. RuntimeError where it does not end well."""
        out, began = self.new(f"whole {kind}"), time.monotonic()
        done = self.run(kind, out, *more)
        if done.code or done.fault:
            raise RuntimeError(f"the undisturbed run of {kind} failed: {done.fault or done.last}")
        return out, time.monotonic() - began

    def ends_like(self, kind: str, out, *more) -> tuple[str, str]:
        """Starts the run in `out`, disturbed before, once more. -> a verdict and why."""
        done = self.run(kind, out, *more)
        if done.fault:
            return "lost", done.fault
        if done.code:
            return "refused", done.last
        different = differing(self.whole(kind, *more)[0], out)
        return ("lost", different) if different else ("survived", "")


def differing(whole: Path, out: Path) -> str:
    """The first metric or tensor of `out` that is not the one of `whole`; "" where all are equal."""
    import torch
    from safetensors.torch import load_file

    def tensors(path):
        return load_file(path) if path.suffix == ".safetensors" else torch.load(path, weights_only=True)["state_dict"]

    for path in sorted(whole.rglob("*")):
        name, other = path.relative_to(whole), out / path.relative_to(whole)
        compared = path.name == "results.json" or ".pth.tar" in path.name or path.suffix == ".safetensors"
        if not compared or not path.is_file():
            continue
        if not other.is_file():
            return f"{name} is missing"
        if path.suffix == ".json":
            if metrics(path) != metrics(other):
                return f"{name}: {metrics(other)} instead of {metrics(path)}"
            continue
        mine, theirs = tensors(path), tensors(other)
        if mine.keys() != theirs.keys() or not all(torch.equal(mine[key], theirs[key]) for key in mine):
            return f"{name} holds other tensors"
    return ""


def metrics(path: Path):
    """What a results.json found; None where it cannot be read."""
    if not path.is_file():  # to open a pipe would wait for ever
        return None
    try:
        return json.loads(path.read_text(encoding="utf-8"))["metrics"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def make_images(folder: Path, classes=("ant", "crab", "dolphin"), each=8):
    """A folder of small coloured images, a sub-folder a class."""
    import numpy as np
    from PIL import Image

    for label, name in enumerate(classes):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for i in range(each):
            draw = np.random.default_rng([label, i])
            pixels = draw.integers(0, 128, (40, 48, 3)) + np.eye(3, dtype=int)[label] * 100
            Image.fromarray(pixels.astype("uint8")).save(folder / name / f"{name}_{i}.png")
