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
        ("CLIP_Adapter_SHIP_GATE", "miniclip_gaussian", ["CLIP_Adapter_SHIP/miniclip_gaussian", "GATE/miniclip"]),
        ("GaussianLDA_SHIP_GATE", "vit_b16", ["GaussianLDA_SHIP/vit_b16", "GATE/vit_b16"]),
        ("Ensemble_GATE", "miniclip", ["Ensemble/miniclip", "GATE/miniclip"]),
        ("CoOp_SAR", "miniclip_ep20", ["CoOp/miniclip_ep20", "SAR/miniclip"]),
        ("CoOp_SHIP", "miniclip_ship_released", ["CoOp/miniclip_ship_released", "SHIP/miniclip"]),
        ("CoOp_SHIP", "nothing", []),
    ],
)
def test_the_longest_beginning_of_the_name_then_the_other_plugins(trainer, cfg, expected):
    assert [path.split("/", 2)[2].removesuffix(".yaml") for path in config_files(trainer, cfg)] == expected


@pytest.mark.parametrize("backbone", ["miniclip", "vit_b16"])
def test_the_control_row_trains_as_ship_does(backbone):
    """SGD of 2e-3 without momentum, batches of 256 of which none is left out, 200 epochs."""
    control, ship = (cfg_of(trainer, f"{backbone}_ship_released") for trainer in ("CoOp", "CoOp_SHIP"))
    assert control.OPTIM == ship.OPTIM and control.DATALOADER.TRAIN_X == ship.DATALOADER.TRAIN_X
    assert control.INPUT == ship.INPUT
    optim, loader = control.OPTIM, control.DATALOADER.TRAIN_X
    assert (optim.NAME, optim.LR, optim.MOMENTUM, optim.MAX_EPOCH, optim.SCHEDULE_PER) == ("sgd", 2e-3, 0, 200, "step")
    assert (loader.BATCH_SIZE, loader.DROP_LAST) == (256, False)
