"""Whole base-to-new runs on the shipped Caltech101 features: CoOp + SHIP beside CoOp, at equal epochs."""

import json
import resource
import subprocess
import sys
import tempfile

from ..run import ROOT, Place, Run

STAGES = ("generator", "finetune", "evaluate")


def runs(epochs: int) -> list[dict]:
    """A row for each of both trainers; the second says how many times the first's seconds it takes."""
    rows: list[dict] = []
    with tempfile.TemporaryDirectory() as folder:
        for trainer in ("CoOp", "CoOp_SHIP"):
            options = [("OPTIM.MAX_EPOCH", str(epochs))]
            options += [("TRAINER.SHIP.EPOCHS", str(epochs))] if trainer != "CoOp" else []
            run, place = Run("base2new", "caltech101", trainer, "miniclip", 1, options=tuple(options)), Place(folder)
            before = _cpu()
            subprocess.run([sys.executable, *run.command(place)], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
            found = json.loads(run.results(place).read_text())
            stages = {stage: found["seconds"].get(stage, 0.0) for stage in STAGES}
            row = {"trainer": trainer, "epochs": epochs, **stages, "stages": sum(stages.values())}
            row["process, CPU s"] = _cpu() - before
            rows.append({**row, "H": found["metrics"]["H"]})
    for key in ("stages", "process, CPU s"):
        for row in rows:
            row[f"{key}: times CoOp's"] = row[key] / rows[0][key]
    return rows


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
