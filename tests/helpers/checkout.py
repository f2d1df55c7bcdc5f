"""A small copy of the repository in which the real scripts run, with a Python, a train.py and a report.py that only
note what they were asked."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DATASETS = ("caltech101", "eurosat")
TRAINERS = ("ZeroshotCLIP", "CoOp", "CoOp_SHIP")

# A Python that notes its arguments and does what a set-up would leave behind; our scripts run in the real one.
FAKE_PYTHON = r"""#!/bin/sh
echo "$*" >> "{log}"
case "$1 $2" in
  "--version "*) echo "Python ${{FAKE_VERSION:-3.11.7}}" ;;
  "-c import sys; sys.exit(sys.version_info"*) [ -z "$FAKE_OLD" ] ;;
  "-c import venv"*) [ -z "$FAKE_NO_VENV" ] ;;
  "-m venv")
    mkdir -p "$3/bin" && cp "$0" "$3/bin/python" && [ -z "$FAKE_VENV_FAILS" ] ;;
  "-m pip") [ -z "$FAKE_PIP_FAILS" ] ;;
  "-W ignore") [ -z "$FAKE_IMPORT_FAILS" ] ;;
  "scripts/"*) exec "{python}" "$@" ;;
esac
"""

# FAKE_FAILS: part of the folders whose runs fail; FAKE_NO_RESULTS: ends without them; FAKE_SECONDS: how long one takes;
# FAKE_GO: a file that has to be there before one ends; FAKE_SAVES: the seconds that it takes to save at SIGTERM.
FAKE_TRAIN = r"""
import os, signal, sys, time
from pathlib import Path
from types import SimpleNamespace

from trainers.core.files import write_results
from trainers.core.run import options_of


class Config(dict):
    FEATURES = SimpleNamespace(BANK="")


def parse_args(words):
    words = [word for word in words if word != "--force"]
    return dict(zip(words[::2], words[1::2]))


def setup_cfg(args):
    return Config(args, SEED=int(args["--seed"]))


def save(folder):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(float(os.environ["FAKE_SAVES"]))
    (folder / "saved").touch()
    sys.exit(143)


def main():
    with open({log!r}, "a") as file:
        file.write(" ".join(["train.py", *sys.argv[1:]]) + "\n")
    if "FAKE_SAVES" in os.environ:
        signal.signal(signal.SIGTERM, lambda *_: save(folder))
    value = parse_args(sys.argv[1:])
    folder = Path(value["--output-dir"])
    folder.mkdir(parents=True, exist_ok=True)
    print(*(f"{{name}} {{os.environ.get(name)}}" for name in ("OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES")))
    with open(folder / "started", "a") as file:
        file.write(f"{{os.getpid()}}\n")
    for step in range(25):
        print(f"step {{step}} of {{folder}}")
    print("80 ± 1 → 81")
    time.sleep(float(os.environ.get("FAKE_SECONDS", 0)))
    while not os.path.exists(os.environ.get("FAKE_GO", "/")):
        time.sleep(0.02)
    if os.environ.get("FAKE_FAILS", "nothing") in str(folder):
        sys.exit(print("error: the data are gone", file=sys.stderr) or 3)
    if "FAKE_NO_RESULTS" in os.environ:
        sys.exit()
    metrics = {{"base": 80.01, "new": 50.0}}
    identity = options_of(setup_cfg(value))[0]
    write_results(folder / "results.json", {{"metrics": metrics, "bank": None, "identity": identity}})


if __name__ == "__main__":
    main()
"""

FAKE_RUN = """
from . import identity

def as_trained(cfg):
    return cfg

def options_of(cfg):
    sections = ["COOP", "SHIP"]
    return {key: value for key, value in cfg.items() if identity.is_read(key, sections)}, {}, sections
"""

FAKE_REPORT = r"""
import sys
with open({log!r}, "a") as file:
    file.write(" ".join(["scripts/report.py", *sys.argv[1:]]) + "\n")
"""


class Checkout:
    """Two data sets and three trainers, in a folder whose name has a space."""

    def __init__(self, tmp_path: Path):
        self.root = tmp_path / "a checkout"
        self.log = tmp_path / "python.log"
        shutil.copytree(ROOT / "scripts", self.root / "scripts", ignore=shutil.ignore_patterns("__pycache__"))
        preload = self.root / "scripts/lib/preload.py"
        preload.write_text(re.sub("    import (timm|torch).*\n", "", preload.read_text()))
        shutil.copytree(ROOT / "configs/sweeps", self.root / "configs/sweeps")
        (self.root / "trainers/core").mkdir(parents=True)
        for name in ("bank_header", "files", "identity"):
            shutil.copy(ROOT / f"trainers/core/{name}.py", self.root / f"trainers/core/{name}.py")
        (self.root / "trainers/core/run.py").write_text(FAKE_RUN)
        for plugin in (ROOT / "configs/plugins").iterdir():
            (self.root / "configs/plugins" / plugin.name).mkdir(parents=True)
        self.add_configs(
            *(f"datasets/{name}" for name in DATASETS), *(f"trainers/{name}/miniclip" for name in TRAINERS)
        )
        (self.root / "requirements.txt").write_text("torch>=2.4\n")
        (self.root / "train.py").write_text(FAKE_TRAIN.format(log=str(self.log)))
        (self.root / "scripts/report.py").write_text(FAKE_REPORT.format(log=str(self.log)))
        self.bin = tmp_path / "bin"
        self.bin.mkdir()
        for name in ("python3", "python", "python3.10", "python3.11", "python3.12", "python3.13"):
            (self.bin / name).write_text(FAKE_PYTHON.format(log=self.log, python=sys.executable))
            (self.bin / name).chmod(0o755)

    def add_configs(self, *names: str):
        """Empty files configs/<name>.yaml."""
        for name in names:
            path = self.root / "configs" / f"{name}.yaml"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()

    def environment(self, **env: str) -> dict[str, str]:
        """Only the fake Pythons are to be found."""
        return {"PATH": f"{self.bin}:/usr/bin:/bin", "HOME": str(self.root), **env}

    def run(self, script: str, *arguments: str, cwd: Path | None = None, **env: str):
        """Runs scripts/<script>, a .sh or a .py. Returns the completed process."""
        return subprocess.run(
            [*self.interpreter(script), str(self.root / "scripts" / script), *arguments],
            cwd=cwd or self.root,
            env=self.environment(**env),
            capture_output=True,
            text=True,
            timeout=60,
        )

    def start(self, script: str, *arguments: str, **env: str) -> subprocess.Popen:
        """The same, left running: for interrupts."""
        return subprocess.Popen(
            [*self.interpreter(script), str(self.root / "scripts" / script), *arguments],
            cwd=self.root,
            env=self.environment(**env),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    @staticmethod
    def interpreter(script: str) -> list[str]:
        return ["bash"] if script.endswith(".sh") else [sys.executable]

    def calls(self, start: str) -> list[str]:
        """Calls of the fakes since the last look that begin with `start`; forgets them."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        self.log.write_text("")
        return [line for line in lines if line.startswith(start) and not line.startswith("scripts/launch.py")]

    def processes(self) -> list[int]:
        """The processes of this checkout's train.py that are alive (Linux)."""
        found = [int(line) for path in self.root.rglob("started") for line in path.read_text().splitlines()]
        return [pid for pid in found if os.path.exists(f"/proc/{pid}")]

    def started(self) -> list[str]:
        """The folders of runs that were started, each as often as it was."""
        found = sorted(self.root.rglob("started"))
        return [str(path.parent) for path in found for _ in path.read_text().splitlines()]
