"""Every configuration file with every data set: it resolves, and a slip of the pen in any file is noticed."""

import shutil
from copy import deepcopy
from itertools import cycle

import pytest
import yaml
from helpers.merging import FAMILIES, check_merges, tasks_of
from helpers.rehearsal import CONFIGS, configurations, dataset_files, files_of, trainers, with_bases

pytestmark = pytest.mark.rehearsal
PER_DATASET = "PER_DATASET"
FREE = {"TEMPLATE"}  # any text is a legal value; so is any number, of which test_released_values.py has some
FOLDERS = ("base", "plugins", "trainers", "datasets")
FILES = sorted(str(path.relative_to(CONFIGS)) for folder in FOLDERS for path in (CONFIGS / folder).rglob("*.yaml"))


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


def test_every_trainer_has_both_families():
    """But those that prompt inside a ViT: the embedded backbone's image tower is none."""
    images = {name for name, kind in trainers().items() if kind.TUNES_IMAGES}
    wanted = {f"{name}/{family}" for name in trainers() for family in FAMILIES}
    assert wanted - {*configurations()} == {f"{name}/miniclip" for name in images}
    assert {path.name for path in (CONFIGS / "trainers").iterdir()} <= {*trainers()}


# ---- the self-test: each key and each value of each file, misspelt in a copy


def places(settings, path=()):
    """The path of every key in nested settings."""
    for key, value in settings.items():
        yield (*path, key)
        if isinstance(value, dict):
            yield from places(value, (*path, key))


def misspelt(settings, path, value):
    """A copy of the settings whose key, or with `value` whose value, at `path` has a letter too many; None where the
    place has no such value."""
    found = deepcopy(settings)
    node = found
    for key in path[:-1]:
        node = node[key]
    *_, last = path
    if not value:
        node[f"{last}X"] = node.pop(last)
    elif isinstance(node[last], dict) or last in FREE:
        return None
    elif isinstance(node[last], list):
        node[last][-1] = f"{node[last][-1]}x"
    else:
        node[last] = f"{node[last]}x"
    return found


@pytest.fixture(scope="module")
def copied(tmp_path_factory):
    """A copy of configs/, to be spoilt."""
    return shutil.copytree(CONFIGS, tmp_path_factory.mktemp("copy") / "configs")


@pytest.fixture(scope="module")
def users():
    """{file: the configurations that it is part of, its own name first}"""
    found = {}
    for config in configurations():
        for path in {base for file in files_of(config) for base in with_bases(file)}:
            own = path.parent.name + "/" + path.stem == config
            configs = found.setdefault(path, [])
            configs.insert(0 if own else len(configs), config)
    return found


def is_noticed(configs, dataset, candidates):
    """Whether any of the configurations that a file is part of is red with this data set."""
    for config in candidates:
        try:
            check_merges(config, dataset, tasks_of(dataset)[0], configs)
        except Exception:  # whatever it is, it is red
            return True
    return False


@pytest.fixture(scope="module")
def readers():
    """{DATASET.NAME: the data set's file}"""
    files = {name: CONFIGS / "datasets" / f"{name}.yaml" for name in dataset_files()}
    return {yaml.safe_load(path.read_text())["DATASET"]["NAME"]: name for name, path in files.items()}


@pytest.mark.slow
@pytest.mark.parametrize("file", FILES)
def test_a_slip_of_the_pen_in_any_file_is_noticed(copied, users, readers, file):
    path, settings = copied / file, yaml.safe_load((CONFIGS / file).read_text()) or {}
    own = path.stem if file.startswith("datasets/") else "dtd"
    candidates = ["CoOp/miniclip"] if file.startswith("datasets/") else users.get((CONFIGS / file).resolve())
    assert candidates, f"no configuration is made of {file}"
    kept, unnoticed = path.read_text(), []
    for place in places(settings):
        per_dataset = place[0] == PER_DATASET and len(place) > 1
        dataset = readers.get(place[1], own) if per_dataset else own
        for value in (False, True):
            spoilt = misspelt(settings, place, value)
            if spoilt is None:
                continue
            path.write_text(yaml.safe_dump(spoilt))
            if not is_noticed(copied, dataset, candidates):
                unnoticed.append(f"{'.'.join(map(str, place))} ({'value' if value else 'key'})")
    path.write_text(kept)
    assert not is_noticed(copied, own, candidates), "the file as it is"
    assert not unnoticed, f"{file}: nobody notices a wrong {', '.join(unnoticed)}; does every user override it?"


def test_a_name_that_no_data_set_has_is_noticed(copied):
    path = copied / "trainers/CoOp/vit_b16.yaml"
    kept = path.read_text()
    path.write_text(yaml.safe_dump({**yaml.safe_load(kept), PER_DATASET: {"ImagNet": {"OPTIM": {"MAX_EPOCH": 50}}}}))
    with pytest.raises(AssertionError, match="names no data set.*ImagNet"):
        check_merges("CoOp/vit_b16", "caltech101", "base2new", copied)
    path.write_text(kept)
