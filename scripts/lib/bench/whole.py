"""Whole base-to-new runs on the shipped Caltech101 features: CoOp + SHIP beside CoOp, at equal epochs."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
COOP, SHIP = "configs/trainers/CoOp/miniclip.yaml", "configs/plugins/SHIP/miniclip.yaml"
STAGES = ("generator", "finetune", "evaluate")


def runs(epochs: int) -> list[dict]:
    """A row per trainer: seconds per stage, CPU seconds of the process, and both as multiples of CoOp's."""
    rows = [_run("CoOp", f"--config-file {COOP}", epochs)]
    rows.append(_run("CoOp_SHIP", f"--config-file {COOP} --config-file {SHIP}", epochs))
    for row in rows:
        row["sum, times CoOp's"] = row["sum, s"] / rows[0]["sum, s"]
        row["CPU, times CoOp's"] = row["CPU, s"] / rows[0]["CPU, s"]
    return rows


def _run(trainer, files, epochs):
    words = f"train.py --trainer {trainer} --seed 1 --dataset-config-file configs/datasets/caltech101.yaml {files}"
    options = f"TASK base2new DATASET.SUBSAMPLE_CLASSES base DATASET.NUM_SHOTS 16 OPTIM.MAX_EPOCH {epochs}"
    with tempfile.TemporaryDirectory() as out:
        command = [sys.executable, *words.split(), "--output-dir", out, *options.split()]
        before = _cpu()
        subprocess.run([*command, "TRAINER.SHIP.EPOCHS", str(epochs)], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
        results = json.loads(Path(out, "results.json").read_text())
    seconds = {f"{stage}, s": results["seconds"].get(stage, 0.0) for stage in STAGES}
    total, cpu = sum(seconds.values()), _cpu() - before
    return {"trainer": trainer, **seconds, "sum, s": total, "CPU, s": cpu, "H": results["metrics"]["H"]}


def _cpu() -> float:
    used = os.times()  # of children: 0 on Windows, which does not say
    return used.children_user + used.children_system
