"""The registry's names; every configuration file resolves with some data set; the published values of every method,
released.yaml, are those of our configurations for the papers' backbone."""

from functools import cache
from itertools import cycle
from pathlib import Path

import pytest
import yaml
from dassl.data.datasets import DATASET_REGISTRY
from helpers.miniatures import TABLE1
from helpers.rehearsal import CONFIGS, FAMILIES, check_merges, configurations, dataset_files, trainers

from trainers.core.identity import leaves

pytestmark = pytest.mark.rehearsal
RELEASED = yaml.safe_load((Path(__file__).parent / "released.yaml").read_text())
CASES = [(config, entry) for entry in RELEASED for config in entry["configs"]]


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


def plain(value):
    """Tuples as lists, as YAML has them."""
    return [plain(item) for item in value] if isinstance(value, list | tuple) else value


@cache
def merged(config, dataset):
    return check_merges(config, dataset)


@pytest.mark.parametrize(("config", "entry"), CASES, ids=[f"{config}-{entry['source']}" for config, entry in CASES])
def test_released_values_are_ours(config, entry):
    for dataset in entry.get("datasets", TABLE1):
        options = dict(leaves(merged(config, dataset)))
        ours = {key: plain(options[key]) for key in entry["values"]}
        assert ours == entry["values"], f"{config} on {dataset}, {entry['source']}"
