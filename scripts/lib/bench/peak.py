"""Peak memory of a CoOp step, measured in a process of its own."""

import ctypes
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import torch
import torch.nn.functional as F

from trainers.coop import CoOpHead

from .plain import PlainCoOpHead
from .towers import TOWERS, class_names

SCRIPTS = Path(__file__).resolve().parents[2]
PROGRAM = "import _path; from lib.bench.peak import main; main()"


def peak(tower: str, names: int, n_ctx: int, chunk: int, kind: str, device: str) -> float:
    """MB that two steps take beside the tower, `kind` being ours or plain. Of a CPU: resident memory (Linux)."""
    words = map(str, (tower, names, n_ctx, chunk, kind, device))
    # each tensor of its own mapping, so that what is freed is no longer resident
    exact = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536"}
    command = [sys.executable, "-c", PROGRAM, *words]
    done = subprocess.run(command, cwd=SCRIPTS, env=exact, stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout.splitlines()[-1]) / 2**20


def main():
    tower, names, n_ctx, chunk, kind, device = sys.argv[1:]
    backbone = TOWERS[tower]().to(device)
    backbone.visual = None  # features are given
    context = torch.randn(int(n_ctx), backbone.width)
    head = {"ours": CoOpHead, "plain": PlainCoOpHead}[kind](
        backbone, class_names(int(names)), context, chunk=int(chunk)
    )
    head.to(device)
    features = F.normalize(torch.randn(32, backbone.embed_dim, device=device), dim=-1)
    labels = torch.zeros(32, dtype=torch.long, device=device)
    before = _forget_the_peak(device)
    for _ in range(2):
        F.cross_entropy(head(features), labels).backward()
    print(_peak(device) - before)


def _forget_the_peak(device) -> int:
    """-> bytes in use."""
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_allocated()
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")  # the building of the tower took more than a step
    return _peak(device)


def _peak(device) -> int:
    if device == "cuda":
        return torch.cuda.max_memory_allocated()
    return int(re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text()).group(1)) * 1024
