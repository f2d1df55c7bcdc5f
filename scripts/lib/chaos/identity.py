"""Tricks with who a run is: a folder that holds one run is given the command of another."""

import shutil

from .lab import metrics

# what differs: more words of the command. {folder}: files made below.
TRICKS = {
    "seed": ["--seed", "2"],
    "learning rate": ["OPTIM.LR", "0.1"],
    "epochs": ["OPTIM.MAX_EPOCH", "4"],
    "shots": ["DATASET.NUM_SHOTS", "1"],
    "all shots": ["DATASET.NUM_SHOTS", "-1"],
    "batches": ["DATALOADER.TRAIN_X.BATCH_SIZE", "4"],
    "optimiser": ["OPTIM.NAME", "adam"],
    "weight decay": ["OPTIM.WEIGHT_DECAY", "0.1"],
    "schedule": ["OPTIM.LR_SCHEDULER", "single_step"],
    "template": ["DATASET.TEMPLATE", "a blurry photo of a {}."],
    "a comma in the template": ["DATASET.TEMPLATE", "a photo, of {}"],
    "a colon in the template": ["DATASET.TEMPLATE", "a photo: of {}"],
    "context": ["TRAINER.COOP.CTX_INIT", "", "TRAINER.COOP.N_CTX", "4"],
    "class token": ["TRAINER.COOP.CLASS_TOKEN_POSITION", "front"],
    "task": ["TASK", "fewshot"],
    "classes": ["TASK", "fewshot", "DATASET.SUBSAMPLE_CLASSES", "new"],
    "another bank": ["FEATURES.BANK", "{folder}/other.safetensors"],
    "selection": ["TEST.FINAL_MODEL", "best_val"],
    "data set": ["--dataset-config-file", "configs/datasets/caltech101.yaml"],
    "method": ["--trainer", "KgCoOp"],
    "configuration": ["--config-file", "{folder}/more.yaml"],
    "names": ["--trainer", "CoOp_SHIP", "TRAINER.SHIP.NEW_CLASSES", "{folder}/names.txt"],
    "the last batch": ["DATALOADER.TRAIN_X.DROP_LAST", "False"],
    "start": ["MODEL.INIT_WEIGHTS", "{folder}/start"],
    "a plug-in": ["--trainer", "CoOp_GATE"],
}


def identity(lab, count, rng):
    """Each case: a finished run, or one cut off, continued under the command of another."""
    cases = [(name, cut) for name in TRICKS for cut in (True, False)]
    for name, cut in rng.sample(cases, min(count or len(cases), len(cases))):
        yield f"{name}, {'cut off' if cut else 'finished'}", lambda name=name, cut=cut: tricked(lab, name, cut)


def tricked(lab, name, cut):
    (whole, _), out, fresh = lab.whole("CoOp"), lab.new("CoOp"), lab.new("CoOp")
    shutil.copytree(whole, out)
    if cut:
        (out / "results.json").unlink()
    words = [word.replace("{folder}", str(materials(lab, whole))) for word in TRICKS[name]]
    done = lab.run("CoOp", out, *words)
    if done.fault:
        return "lost", done.fault
    if done.code:
        kept = cut or (out / "results.json").read_bytes() == (whole / "results.json").read_bytes()
        return ("refused", done.last) if kept else ("lost", "refused, but results.json was changed")
    lab.run("CoOp", fresh, *words)
    found, true = metrics(out / "results.json"), metrics(fresh / "results.json")
    return ("survived", "") if found == true else ("lost", f"gives {found}, the run itself {true}")


def materials(lab, whole):
    """The folder with the other bank, names, configuration and start that the tricks use."""
    folder = lab.folder / "materials"
    if not folder.exists():
        shutil.copytree(whole, folder / "start")
        (folder / "names.txt").write_text("airport\n")
        (folder / "more.yaml").write_text(
            f"_BASE_: {lab.root}/configs/trainers/CoOp/miniclip.yaml\nOPTIM: {{LR: 0.5}}\n"
        )
        other_bank(lab.root / "datasets/banks/eurosat_miniclip.safetensors", folder / "other.safetensors")
    return folder


def other_bank(bank, path):
    """The bank with the features of its test images turned."""
    from trainers.core.features.bank import read_bank, write_bank

    tensors, header = read_bank(bank)
    tensors["test.features"] = tensors["test.features"].flip(0)
    tensors["train.features"] = tensors["train.features"].flip(0)
    write_bank(path, tensors, header)
