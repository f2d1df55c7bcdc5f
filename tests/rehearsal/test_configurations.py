"""The registry's names, and that every configuration file resolves with some data set of each task."""

from itertools import cycle

import pytest
import yaml
from dassl.data.datasets import DATASET_REGISTRY
from helpers.merging import FAMILIES, check_merges
from helpers.rehearsal import CONFIGS, configurations, dataset_files, trainers

pytestmark = pytest.mark.rehearsal


def test_the_methods_of_the_papers_are_registered():
    methods = "ZeroshotCLIP CoOp CoCoOp KgCoOp ProDA CoOp_VPT CLIP_Adapter Tip_Adapter Tip_Adapter_F".split()
    methods += "PVA f_VAEGAN TF_VAEGAN Prototype GaussianLDA CoOp_SHIP CLIP_Adapter_SHIP Tip_Adapter_F_SHIP".split()
    assert {*methods, "CoOp_SHIP_SAR_GATE", "PVA_SHIP_SAR"} <= {*trainers()}


def test_every_trainer_has_both_families():
    """But those that prompt inside a ViT: the embedded backbone's image tower is none."""
    images = {name for name, kind in trainers().items() if kind.TUNES_IMAGES}
    wanted = {f"{name}/{family}" for name in trainers() for family in FAMILIES}
    assert wanted - {*configurations()} == {f"{name}/miniclip" for name in images}
    assert {path.name for path in (CONFIGS / "trainers").iterdir()} <= {*trainers()}


@pytest.mark.parametrize("trainer", trainers())
def test_every_configuration_resolves(trainer):
    own = [config for config in configurations() if config.startswith(f"{trainer}/")]
    for config, dataset in zip(own, cycle(dataset_files())):
        check_merges(config, dataset)


def test_values_of_a_data_set_name_one():
    """A name that no reader has would be passed over."""
    for path in [*CONFIGS.glob("trainers/*/*.yaml"), *CONFIGS.glob("plugins/*/*.yaml")]:
        named = (yaml.safe_load(path.read_text()) or {}).get("PER_DATASET", {})
        assert named.keys() <= set(DATASET_REGISTRY.registered_names()), path
