"""scripts/cross_dataset.sh, domain_generalization.sh and gzsl.sh: the command lines they make, and where the runs
go."""

import pytest

CONFIGS = (
    "ZeroshotCLIP/miniclip",
    "CoOp/miniclip_gzsl",
    "CoOp_SHIP/miniclip_gzsl",
    "CoOp/vit_b16_ctxv1",
    "CoOp_SHIP/vit_b16_ctxv1",
    "ZeroshotCLIP/vit_b16",
)


@pytest.fixture
def ready(checkout):
    """A checkout that is set up, with what these tasks need: more configurations and targets, one shipped bank beside
    the source's."""
    for name in (*(f"trainers/{name}" for name in CONFIGS), "datasets/imagenet", "datasets/imagenet_a", "datasets/flo"):
        path = checkout.root / "configs" / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    banks = checkout.root / "datasets/banks"
    banks.mkdir(parents=True)
    for name in ("caltech101", "eurosat"):
        (banks / f"{name}_miniclip.safetensors").touch()
    checkout.run("setup.sh")
    checkout.calls("")
    return checkout


def folder(call):
    return call.split("--output-dir ")[1].split()[0]


def test_cross_dataset_trains_the_source_once_and_three_rows_on_each_target(ready):
    origin = "output/fewshot/caltech101/shots_16/CoOp_SHIP/miniclip/seed2"
    assert ready.run("cross_dataset.sh", "caltech101", "2").returncode == 0
    source, zero_shot, coop, ship = ready.calls("train.py")
    assert folder(source) == origin and source.endswith(
        " TASK fewshot DATASET.NUM_SHOTS 16 DATASET.SUBSAMPLE_CLASSES all"
    )
    where = "output/cross_dataset/eurosat/shots_16"
    assert folder(zero_shot) == f"{where}/ZeroshotCLIP/miniclip/seed2" and "INIT" not in zero_shot
    assert folder(coop) == f"{where}/CoOp/miniclip-from_caltech101/seed2"
    assert coop.endswith(
        f"TASK cross_dataset DATASET.NUM_SHOTS 16 DATASET.SUBSAMPLE_CLASSES all MODEL.INIT_WEIGHTS {origin}"
    )
    assert (
        folder(ship) == f"{where}/CoOp_SHIP/miniclip-from_caltech101/seed2"
        and "--dataset-config-file configs/datasets/eurosat.yaml" in ship
    )
    assert ship.endswith(f"MODEL.INIT_WEIGHTS {origin} TRAINER.SHIP.INIT_FROM {origin}")
    again = ready.run("cross_dataset.sh", "caltech101", "2", "eurosat")
    assert again.stdout.count("done already") == 4 and ready.calls("train.py") == []


def test_cross_dataset_prints_the_table(ready):
    ready.run("cross_dataset.sh", "caltech101", "1")
    assert ready.calls("scripts/report.py") == ["scripts/report.py --table 2 output/cross_dataset"]


def test_cross_dataset_with_other_configurations_options_and_targets(ready, tmp_path):
    settings = {"CFG": "vit_b16_ctxv1", "SOURCE_CFG": "miniclip", "DATA": str(tmp_path)}
    ready.run("cross_dataset.sh", "imagenet", "1", "eurosat", "caltech101", "--", "OPTIM.LR", "0.1", **settings)
    calls = ready.calls("train.py")
    assert len(calls) == 1 + 2 * 3 and all("OPTIM.LR 0.1" in call and f"--root {tmp_path}" in call for call in calls)
    assert "CoOp_SHIP/miniclip-OPTIM.LR=0.1/seed1" in folder(calls[0])
    assert folder(calls[1]).endswith("eurosat/shots_16/ZeroshotCLIP/vit_b16-OPTIM.LR=0.1/seed1")
    assert folder(calls[6]).endswith("caltech101/shots_16/CoOp_SHIP/vit_b16_ctxv1-from_imagenet-OPTIM.LR=0.1/seed1")


def test_domain_generalization(ready):
    assert ready.run("domain_generalization.sh", "1", "CoOp", "miniclip", TARGETS="imagenet_a").returncode == 0
    source, target = ready.calls("train.py")
    assert folder(source) == "output/fewshot/imagenet/shots_16/CoOp/miniclip/seed1"
    assert folder(target) == "output/domain_generalization/imagenet_a/shots_16/CoOp/miniclip-from_imagenet/seed1"
    assert (
        "TASK domain_generalization DATASET.NUM_SHOTS 16 DATASET.SUBSAMPLE_CLASSES all "
        f"MODEL.INIT_WEIGHTS {folder(source)}" in target
    )
    ready.run("domain_generalization.sh", "1", "ZeroshotCLIP", "miniclip", TARGETS="imagenet_a")
    (zero_shot,) = ready.calls("train.py")
    assert "INIT" not in zero_shot


@pytest.mark.parametrize(
    "arguments, trainer, cfg",
    [
        ((), "CoOp_SHIP", "miniclip_gzsl"),
        (("CoOp",), "CoOp", "miniclip_gzsl"),
        (("CoOp", "miniclip"), "CoOp", "miniclip"),
        (("ZeroshotCLIP",), "ZeroshotCLIP", "miniclip"),
    ],
)
def test_gzsl(ready, tmp_path, arguments, trainer, cfg):
    assert ready.run("gzsl.sh", "flo", "3", *arguments, BANK="flo.safetensors").returncode == 0
    (call,) = ready.calls("train.py")
    assert (
        folder(call) == f"output/gzsl/flo/shots_all/{trainer}/{cfg}/seed3"
        and f"configs/trainers/{trainer}/{cfg}.yaml" in call
    )
    assert call.endswith(
        f"TASK gzsl DATASET.NUM_SHOTS -1 DATASET.SUBSAMPLE_CLASSES all FEATURES.BANK {ready.root}/flo.safetensors"
    )


@pytest.mark.parametrize(
    "script, arguments, message",
    [
        ("cross_dataset.sh", ("caltech101", "1", "caltech101"), "is the source"),
        ("cross_dataset.sh", ("caltech101", "1", "eurosta"), "no dataset 'eurosta'"),
        ("domain_generalization.sh", ("1", "CoOp", "miniclip"), "no dataset 'imagenetv2'"),
        ("gzsl.sh", ("flo", "one"), "SEED is a whole number"),
    ],
)
def test_wrong_arguments(ready, script, arguments, message):
    result = ready.run(script, *arguments)
    assert result.returncode == 2 and message in result.stderr and ready.calls("train.py") == []
