"""Which files a configuration is made of."""

import pytest

from scripts.lib.runs import config_files


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
