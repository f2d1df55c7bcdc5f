"""Every command in README, docs and help texts is one that runs: the rest of a run is left out by --dry-run or
--print-config, and where a script has neither, once its command line was read."""

import argparse
import importlib.util
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import train

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
HELP = [ROOT / "train.py", *sorted((ROOT / "scripts").glob("*.py"))]
LINE = re.compile(
    r"^ *((?:[A-Z]+=(?:\"[^\"]*\"|\S+) )*(?:bash|python) (?:train\.py|scripts/[\w]+\.(?:py|sh))(?: .*)?)$", re.M
)
OTHERS = {"setup.sh", "test.sh", "quickstart.sh"}  # they make the environment that this test runs in


def commands():
    """[(where, words)] of all command lines; those that go on after a backslash as one."""
    for path in [*PAGES, *HELP]:
        text = path.read_text(encoding="utf-8")
        text = text.replace("\\\\\n", "\\\n") if path.suffix == ".py" else text
        for line in LINE.findall(re.sub(r"\\\n\s*", "", text)):
            words = shlex.split(re.split(r"\s{2,}\S|\s#|`|\)\s|;\s", line)[0])
            yield pytest.param(words, id=f"{path.name}: {' '.join(words)[:90]}")


class Read(Exception):
    """The command line was read."""


def read_only(parse):
    def parsing(parser, *arguments, **options):
        parse(parser, *arguments, **options)
        raise Read

    return parsing


@pytest.mark.parametrize("words", list(commands()))
def test_a_command_runs(words, monkeypatch, tmp_path):
    start = next(i for i, word in enumerate(words) if word in ("bash", "python"))
    settings, program, rest = words[:start], Path(words[start + 1]), words[start + 2 :]
    for setting in settings:
        monkeypatch.setenv(*setting.split("=", 1))
    monkeypatch.chdir(ROOT)
    if program.name in OTHERS or "--help" in rest:
        assert (ROOT / program).is_file()
    elif program.name == "train.py":
        train.setup_cfg(train.parse_args(["--print-config", *rest]))
    elif program.suffix == ".sh" or program.name == "launch.py":
        cut = rest.index("--") if "--" in rest else len(rest)
        rest = [word for word in rest[:cut] if word not in ("...", "RUN")] + ["--dry-run", *rest[cut:]]
        rest = ["table1" if word == "my_runs.yaml" else word for word in rest]
        environment = {**os.environ, "PYTHON": sys.executable, "CUDA_VISIBLE_DEVICES": "0", "OUTPUT": str(tmp_path)}
        done = subprocess.run(
            [words[start], str(program), *rest], cwd=ROOT, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip()
    else:
        monkeypatch.syspath_prepend(str(ROOT / "scripts"))
        spec = importlib.util.spec_from_file_location(f"command_{program.stem}", ROOT / program)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        for name in ("parse_args", "parse_intermixed_args"):
            monkeypatch.setattr(argparse.ArgumentParser, name, read_only(getattr(argparse.ArgumentParser, name)))
        monkeypatch.setattr(sys, "argv", [str(program), *rest])
        with pytest.raises(Read):
            module.main()
