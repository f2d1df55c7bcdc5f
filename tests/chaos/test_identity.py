"""A folder that holds one run is given the command of another: refused, or it ends as that other run."""

import shutil

import pytest
from chaos.lab import metrics

TRICKS = {  # what differs, as flags and options
    "seed": ("--seed 2", ""),
    "learning rate": ("", "OPTIM.LR 0.1"),
    "epochs": ("", "OPTIM.MAX_EPOCH 4"),
    "shots": ("", "DATASET.NUM_SHOTS 1"),
    "batches": ("", "DATALOADER.TRAIN_X.BATCH_SIZE 4"),
    "the last batch": ("", "DATALOADER.TRAIN_X.DROP_LAST False"),
    "optimiser": ("", "OPTIM.NAME sgd"),
    "schedule": ("", "OPTIM.LR_SCHEDULER cosine"),
    "template": ("", "DATASET.TEMPLATE {}!"),
    "context": ("", "TRAINER.COOP.N_CTX 4"),
    "class token": ("", "TRAINER.COOP.CLASS_TOKEN_POSITION front"),
    "task": ("", "TASK fewshot"),
    "classes": ("", "TASK fewshot DATASET.SUBSAMPLE_CLASSES new"),
    "selection": ("", "TEST.FINAL_MODEL best_val"),
    "data set": ("--dataset-config-file configs/datasets/caltech101.yaml", ""),
    "method": ("--trainer KgCoOp", ""),
    "plug-in": ("--trainer CoOp_GATE", ""),
    "names": ("--trainer CoOp_SHIP", "TRAINER.SHIP.NEW_CLASSES FOLDER/names.txt"),
    "start": ("", "MODEL.INIT_WEIGHTS START"),
}


@pytest.mark.parametrize("was", ["cut off", "finished"])
def test_no_run_is_taken_for_another(lab, rng, was):
    (whole, _), out, fresh = lab.whole("CoOp"), lab.new(), lab.new()
    shutil.copytree(whole, out)
    if was == "cut off":
        (out / "results.json").unlink()
    (lab.folder / "names.txt").write_text("airport\n")
    flags, options = rng.choice(list(TRICKS.values()))
    options = options.replace("FOLDER", str(lab.folder)).replace("START", str(whole))
    words = flags.split(), options.split()
    done = lab.run("CoOp", out, *words)
    assert not done.fault, done.fault
    if done.code:
        assert was == "cut off" or metrics(out / "results.json") == metrics(whole / "results.json")
        return
    assert lab.run("CoOp", fresh, *words).code == 0
    assert metrics(out / "results.json") == metrics(fresh / "results.json")
