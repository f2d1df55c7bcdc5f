"""The registry's names, and that every configuration file resolves with some data set of each task."""

import shutil
from itertools import cycle

import pytest
import yaml
from helpers.merging import FAMILIES, check_merges, tasks_of
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
        check_merges(config, dataset, tasks_of(dataset)[0])


@pytest.mark.parametrize("dataset", dataset_files())
def test_every_data_set_has_a_task_and_every_task_its_classes(dataset):
    assert tasks_of(dataset)
    for task in tasks_of(dataset):
        check_merges("CoOp_SHIP/vit_b16", dataset, task)


@pytest.mark.parametrize("wrong", [{"PER_DATASET": {"ImagNet": {"OPTIM": {"MAX_EPOCH": 50}}}}, {"OPTIM": {"LRR": 1.0}}])
def test_a_name_that_nothing_has_is_noticed(tmp_path, wrong):
    copied = shutil.copytree(CONFIGS, tmp_path / "configs")
    path = copied / "trainers/CoOp/vit_b16.yaml"
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **wrong}))
    with pytest.raises(Exception, match="ImagNet|LRR"):
        check_merges("CoOp/vit_b16", "caltech101", "base2new", copied)
