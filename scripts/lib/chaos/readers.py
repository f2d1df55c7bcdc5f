"""Who reads which file: the table that damaged and hostile files are tried with."""

import re
import shutil

from .lab import metrics

PREDICT = ("scripts/predict.py", "{run}", "{images}/ant")
SYNTHESIZE = ("scripts/synthesize.py", "{run}", "--out", "{case}/synthetic.safetensors")
PRINT = ("train.py", "--trainer", "CoOp", "--print-config")
HEAD, BANK = "{run}/prompt_learner/model.pth.tar-3", "{root}/datasets/banks/eurosat_miniclip.safetensors"
# name: (kind of the run in {run}, the file, who reads it). "again" gives the run's own command once more, "resume" too,
# as if it had been killed before its end; "anew" makes a run of the same kind, with the words that follow.
READERS = {
    "checkpoint, resumed": ("CoOp", HEAD, ("resume",)),
    "checkpoint, predicting": ("CoOp", HEAD, PREDICT),
    "checkpoint, evaluated": ("CoOp", HEAD, ("anew", "--eval-only", "--model-dir", "{run}")),
    "checkpoint, started from": ("CoOp", HEAD, ("anew", "MODEL.INIT_WEIGHTS", "{run}")),
    "pointer": ("CoOp", "{run}/prompt_learner/checkpoint", ("resume",)),
    "best checkpoint": ("best epoch", "{run}/prompt_learner/model-best.pth.tar", PREDICT),
    "generator, resumed": ("CoOp_SHIP", "{run}/generator/generator.pth.tar", ("resume",)),
    "generator, exported": ("CoOp_SHIP", "{run}/generator/generator.pth.tar", SYNTHESIZE),
    "generator, in words": (
        "CoOp_SHIP",
        "{run}/generator/generator.pth.tar",
        ("scripts/interpret.py", "{run}", "{images}/ant"),
    ),
    "gate": ("CoOp_GATE", "{run}/gate/gate.safetensors", PREDICT),
    "PVA": ("PVA", "{run}/pva/model.pth.tar-3", PREDICT),
    "config.yaml": ("CoOp", "{run}/config.yaml", PREDICT),
    "config.yaml of a gate": ("CoOp_GATE", "{run}/config.yaml", PREDICT),
    "results.json, own": ("CoOp", "{run}/results.json", ("again",)),
    "results.json, a source's": ("CoOp", "{run}/results.json", ("anew", "MODEL.INIT_WEIGHTS", "{run}")),
    "results.json, in a table": ("CoOp", "{run}/results.json", ("scripts/report.py", "{run}")),
    "cache of features": ("images", "{run}.features/*.safetensors", ("anew", "FEATURES.DIR", "{run}.features")),
    "bank": ("CoOp", BANK, ("anew",)),
    "few-shot list": (
        "CoOp",
        "{root}/datasets/fewshot/Caltech101-*-seed1.txt",
        ("anew", "--dataset-config-file", "configs/datasets/caltech101.yaml"),
    ),
    "weights": ("CoOp", "{root}/third_party/miniclip/miniclip.safetensors", ("anew",)),
    "weights, images": ("images", "{root}/third_party/miniclip/miniclip.safetensors", ("anew",)),
    # files that a user names
    "config": ("", "{case}/x.yaml", (*PRINT, "--config-file", "{file}")),
    "config in Python": ("", "{case}/x.py", (*PRINT, "--config-file", "{file}")),
    "dataset config": ("", "{case}/x.yaml", (*PRINT, "--dataset-config-file", "{file}")),
    "image": ("CoOp", "{case}/x.png", ("scripts/predict.py", "{run}", "{file}")),
    "names": ("CoOp", "{case}/x.txt", (*PREDICT, "--names", "{file}")),
    "words": ("CoOp_SHIP", "{case}/x.txt", ("scripts/interpret.py", "{run}", "{images}/ant", "--words", "{file}")),
    "new classes": ("CoOp_SHIP", "{case}/x.txt", ("anew", "TRAINER.SHIP.NEW_CLASSES", "{file}")),
    "novel names": ("CoOp", "{case}/x.txt", ("anew", "--trainer", "CoOp_SAR", "TRAINER.SAR.NAMES", "{file}")),
    "own bank": ("CoOp", "{case}/x.safetensors", ("anew", "FEATURES.BANK", "{file}")),
    "own weights": ("CoOp", "{case}/x.pt", ("anew", "MODEL.BACKBONE.NAME", "{file}", "FEATURES.BANK", BANK)),
    "a model to start from": ("CoOp", "{case}/model", ("anew", "MODEL.INIT_WEIGHTS", "{file}")),
    "few-shot pickle": ("images", "{case}/data/split_fewshot/shot_2-seed_1.pkl", ("anew", "--root", "{case}/data")),
    "sweep": ("", "{case}/x.yaml", ("scripts/sweep.py", "{file}", "--dry-run")),
}


def given(lab, reader, spoil):
    """Calls `spoil(file)`, then starts who reads it. -> (Done, what came of it, to compare)."""
    kind, place, (first, *words) = READERS[reader]
    case = lab.new(reader)
    case.mkdir(parents=True)
    names = {"case": case, "root": lab.root, "images": lab.folder / "images", "run": case / "run", "file": ""}
    if kind:
        copied(lab.whole(kind)[0], names["run"])
    if "{case}/data" in place:
        shutil.copytree(lab.folder / "images", case / "data")
    place = lab.folder / place.format(**names)
    names["file"] = file = next(iter(sorted(place.parent.glob(place.name))), place)
    good = file.read_bytes() if file.is_file() else None
    words = [word.format(**names) for word in words]
    if first == "resume":
        (names["run"] / "results.json").unlink()
    spoil(file)
    try:
        if first in ("again", "resume"):
            done = lab.run(kind, names["run"])
        elif first == "anew":
            flag = [words.pop(0)] if words[:1] == ["--eval-only"] else []
            command = lab.command(kind, case / "anew", *words)
            done = lab.program([command[0], *flag, *command[1:]], case / "anew").wait()
        else:
            done = lab.program([first, *words], case / "program").wait()
    finally:
        if good is not None and lab.root in file.parents:
            remove(file)
            file.write_bytes(good)
    if first.startswith("scripts/"):
        lines = done.text.replace(str(case), "CASE").splitlines()
        shown = [line for line in lines if re.search(r"\d\.\d", line)]  # those with figures
        return done, [shown, *(path.read_bytes() for path in case.glob("synthetic.safetensors"))]
    where = case / "anew" if first == "anew" else names["run"]
    return done, [metrics(path) for path in sorted(where.glob("results*.json"))]


def remove(file):
    """Whatever stands there."""
    if file.is_dir() and not file.is_symlink():
        file.rmdir()
    else:
        file.unlink(missing_ok=True)


def copied(whole, run):
    """A copy of a finished run, and of its cache of features."""
    shutil.copytree(whole, run)
    if (cache := whole.with_name(f"{whole.name}.features")).is_dir():
        shutil.copytree(cache, f"{run}.features")
