"""The trainers of this repository by their names; each is run in the rehearsal."""

import pytest
from helpers.rehearsal import trainers

from scripts.lib.runs import config_files


def test_the_methods_of_the_papers_are_there():
    methods = "ZeroshotCLIP CoOp CoCoOp KgCoOp ProDA CoOp_VPT CLIP_Adapter Tip_Adapter Tip_Adapter_F".split()
    methods += "PVA f_VAEGAN TF_VAEGAN Prototype GaussianLDA CoOp_SHIP CLIP_Adapter_SHIP Tip_Adapter_F_SHIP".split()
    assert {*methods, "CoOp_SHIP_SAR_GATE", "PVA_SHIP_SAR"} <= {*trainers()}


@pytest.mark.parametrize("cfg", ["miniclip", "vit_b16"])
def test_one_configuration_name_serves_a_whole_table(cfg):
    """MiniCLIP has no ViT, which methods that tune the image tower need."""
    served = {name: kind for name, kind in trainers().items() if cfg != "miniclip" or not kind.TUNES_IMAGES}
    assert not [trainer for trainer in served if not config_files(trainer, cfg)]
