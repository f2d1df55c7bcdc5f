"""The published values of every method, released.yaml, are those of our configurations for the papers' backbone."""

from functools import cache
from pathlib import Path

import pytest
import yaml
from helpers.merging import check_merges
from helpers.miniatures import TABLE1
from helpers.rehearsal import CONFIGS

from trainers.core.identity import leaves

pytestmark = pytest.mark.rehearsal
RELEASED = yaml.safe_load((Path(__file__).parent / "released.yaml").read_text())
CASES = [(config, entry) for entry in RELEASED for config in entry["configs"]]


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


def test_every_published_setting_is_listed():
    """A configuration of the papers' backbone without an entry would be checked by nobody."""
    files = {f"{path.parent.name}/{path.stem}" for path in CONFIGS.glob("trainers/*/vit_b16*.yaml")}
    train_nothing = {f"{trainer}/vit_b16" for trainer in ("ZeroshotCLIP", "Prototype", "GaussianLDA")}
    unread = {"PVA/vit_b16", "PVA/vit_b16_gzsl"}  # the paper's settings could not be read
    ours = {"CoOp/vit_b16_gzsl", "CoOp_SHIP/vit_b16_gzsl"}  # the paper gives none for its Table 3
    ours |= {f"{trainer}_SHIP/vit_b16_gaussian" for trainer in ("CoOp", "CLIP_Adapter", "Tip_Adapter_F")}
    ours |= {f"{trainer}/vit_b16" for trainer in ("Ensemble", "GaussianLDA_SHIP", "f_CLSWGAN")}
    assert files - {config for config, _ in CASES} == train_nothing | unread | ours
