"""Every registered trainer of this repository, through the real command line on a tiny bank."""

import json

import pytest
from dassl.engine import TRAINER_REGISTRY
from runs import argv, check_a_killed_run_ends_like_one_left_alone, results

import train
from scripts.lib.runs import config_files

FIELDS = {"task": "base2new", "dataset": "caltech101", "config": "miniclip", "seed": 1, "shots": 4, "subset": {}}
JOINT = {"all_base", "all_new", "all_H", "crossed_base", "crossed_new"}
NAMES = TRAINER_REGISTRY.registered_names()
OURS = sorted(name for name in NAMES if TRAINER_REGISTRY.get(name).__module__.startswith("trainers."))


def test_the_methods_of_the_papers_table_are_there():
    methods = "ZeroshotCLIP CoOp CoCoOp KgCoOp ProDA CoOp_VPT CLIP_Adapter Tip_Adapter Tip_Adapter_F".split()
    assert {*methods, "CoOp_SHIP", "CLIP_Adapter_SHIP", "Tip_Adapter_F_SHIP"} <= set(OURS)


@pytest.mark.parametrize("cfg", ["miniclip", "vit_b16"])
def test_one_configuration_name_serves_a_whole_table(cfg):
    assert not [trainer for trainer in OURS if not config_files(trainer, cfg)]


@pytest.mark.parametrize("trainer", OURS)
def test_trains_evaluates_and_is_evaluated_again(tiny_bank, tmp_path, trainer):
    out = tmp_path / "base2new/caltech101/shots_4" / trainer / "miniclip/seed1"
    quick = ["OPTIM.MAX_EPOCH", "2", "TEST.ALL_SUBSET", "0"]
    train.main(argv(tiny_bank, out, trainer, *quick))
    found = results(out)
    assert {name: found[name] for name in FIELDS} == FIELDS and found["trainer"] == trainer
    assert {*found["metrics"], *found["unsupported"]} - JOINT - {"H"} == {"base", "new", "all"}
    assert "base" in found["metrics"] and found["plugins"] == trainer.removeprefix(found["method"]).split("_")[1:]
    assert ("H" in found["metrics"]) == ("new" in found["metrics"])
    assert all(0 <= value <= 100 for value in found["metrics"].values()) and all(found["unsupported"].values())
    assert found["backbone"]["name"] == "MiniCLIP" and len(found["backbone"]["sha256"]) == 64
    assert found["split_hash"] and found["classnames_hash"] and found["selection"] and found["peak_memory_mb"] > 0
    assert (
        found["seconds"].keys() >= {"backbone", "evaluate"} and {"python", "torch", "dassl"} <= found["versions"].keys()
    )
    log = (out / "log.txt").read_text()
    assert log[log.index("Finish training") :].count("* accuracy: ") == 1

    again = tmp_path / "again"
    options = [*quick, "DATASET.SUBSAMPLE_CLASSES", "base"]
    train.main(["--eval-only", "--model-dir", str(out), *argv(tiny_bank, again, trainer, *options)])
    assert json.loads((again / "results-base.json").read_text())["metrics"]["accuracy"] == found["metrics"]["base"]
    assert not (again / "results.json").exists()


@pytest.mark.parametrize("trainer", [name for name in OURS if TRAINER_REGISTRY.get(name).trains])
def test_resumes_exactly(tiny_bank, tmp_path, monkeypatch, trainer):
    check_a_killed_run_ends_like_one_left_alone(monkeypatch, tmp_path, tiny_bank, trainer, "TEST.ALL_SUBSET", "0")
