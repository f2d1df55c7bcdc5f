"""Whole base-to-new runs on the shipped Caltech101 features: CoOp + SHIP beside CoOp, at equal epochs."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
COOP, SHIP = "configs/trainers/CoOp/miniclip.yaml", "configs/plugins/SHIP/miniclip.yaml"
STAGES = ("generator", "finetune", "evaluate")


def runs(epochs: int) -> list[dict]:
    """A row per trainer: seconds per stage, their sum, and that as a multiple of CoOp's."""
    rows = [_run("CoOp", f"--config-file {COOP}", epochs)]
    rows.append(_run("CoOp_SHIP", f"--config-file {COOP} --config-file {SHIP}", epochs))
    return [{**row, "times CoOp's": row["sum, s"] / rows[0]["sum, s"]} for row in rows]


def _run(trainer, files, epochs):
    words = f"train.py --trainer {trainer} --seed 1 --dataset-config-file configs/datasets/caltech101.yaml {files}"
    options = f"TASK base2new DATASET.NUM_SHOTS 16 OPTIM.MAX_EPOCH {epochs} TRAINER.SHIP.EPOCHS {epochs}"
    with tempfile.TemporaryDirectory() as out:
        command = [sys.executable, *words.split(), "--output-dir", out, *options.split()]
        subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
        results = json.loads(Path(out, "results.json").read_text())
    seconds = {f"{stage}, s": results["seconds"].get(stage, 0.0) for stage in STAGES}
    return {"trainer": trainer, **seconds, "sum, s": sum(seconds.values()), "H": results["metrics"]["H"]}
