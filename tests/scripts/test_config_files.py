"""Which files a configuration is made of, and that the rows of the tables are what they are called."""

import pytest

import train
from scripts.lib.runs import config_files


def cfg_of(trainer, cfg, *options):
    files = [word for path in config_files(trainer, cfg) for word in ("--config-file", str(train.ROOT / path))]
    dataset = str(train.ROOT / "configs/datasets/caltech101.yaml")
    args = ["--trainer", trainer, "--dataset-config-file", dataset, *files, "--seed", "1", "--print-config", *options]
    return train.setup_cfg(train.parse_args(args))


@pytest.mark.parametrize(
    "trainer, cfg, expected",
    [
        ("CoOp_SHIP", "miniclip_ship_released", "trainers/CoOp/miniclip_ship_released plugins/SHIP/miniclip"),
        (
            "CLIP_Adapter_SHIP_GATE",
            "miniclip_gaussian",
            "trainers/CLIP_Adapter_SHIP/miniclip_gaussian plugins/GATE/miniclip",
        ),
        ("KgCoOp_GATE", "vit_b16_ep100_ctxv1", "trainers/KgCoOp/vit_b16_ep100_ctxv1 plugins/GATE/vit_b16"),
        ("CoOp_SHIP_SMOOTH", "miniclip", "trainers/CoOp_SHIP/miniclip"),
        ("LinearProbe_SHIP", "vit_b16", "base/vit_b16 plugins/SHIP/vit_b16"),
        ("CoOp_VPT", "vit_b16_ctxv1", ""),  # not CoOp's file: a method of its own
        ("CoOp_SHIP", "nothing", ""),
    ],
)
def test_the_longest_beginning_of_the_name_then_the_other_plugins(trainer, cfg, expected):
    assert config_files(trainer, cfg) == [f"configs/{name}.yaml" for name in expected.split()]


@pytest.mark.parametrize("backbone", ["miniclip", "vit_b16"])
def test_the_control_row_trains_as_ship_does(backbone):
    """SGD of 2e-3 without momentum, batches of 256 of which none is left out, 200 epochs."""
    control, ship = (cfg_of(trainer, f"{backbone}_ship_released") for trainer in ("CoOp", "CoOp_SHIP"))
    assert control.OPTIM == ship.OPTIM and control.DATALOADER.TRAIN_X == ship.DATALOADER.TRAIN_X
    assert control.INPUT == ship.INPUT
    optim, loader = control.OPTIM, control.DATALOADER.TRAIN_X
    assert (optim.NAME, optim.LR, optim.MOMENTUM, optim.MAX_EPOCH, optim.SCHEDULE_PER) == ("sgd", 2e-3, 0, 200, "step")
    assert (loader.BATCH_SIZE, loader.DROP_LAST) == (256, False)
