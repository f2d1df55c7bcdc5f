"""Every trainer, every configuration file and every data set once, as real command lines on miniatures.

The configurations are those of helpers.rehearsal.covering; each is given a data set of its task, in turn.
"""

from itertools import cycle

import pytest
from helpers.miniatures import DOMAINS, GZSL, PHOTOS, TABLE1
from helpers.rehearsal import SHOTS, command, covering, methods_and_compositions, rehearse, small, trainers
from runs import same_state, train_killed_before_epoch

pytestmark = pytest.mark.rehearsal
METRICS = {  # {task: what a run reports, or says why it cannot}
    **dict.fromkeys(("base2new", "leave_classes_out"), {"base", "new", "all"}),
    "gzsl": {"seen", "unseen"},
    **dict.fromkeys(("fewshot", "cross_dataset", "domain_generalization"), {"accuracy"}),
}
RECORD = {"backbone", "split_hash", "classnames_hash", "selection", "seconds", "peak_memory_mb", "versions", "identity"}


def in_turn(configs, datasets, task):
    return [(config, dataset, task) for config, dataset in zip(configs, cycle(datasets))]


CONFIGS = covering()
OF_GZSL = [config for config in CONFIGS if config.endswith("_gzsl")]
RUNS = [
    *in_turn([config for config in CONFIGS if config not in OF_GZSL], TABLE1, "base2new"),
    *in_turn(OF_GZSL, GZSL, "gzsl"),
    ("CoOp_SHIP/miniclip", PHOTOS, "leave_classes_out"),
]
TARGETS = [(dataset, "domain_generalization") for dataset in DOMAINS] + [("dtd", "cross_dataset")]


def check(found, config, dataset, task):
    """That a results.json is of this run, and complete."""
    about = [found[key] for key in ("task", "dataset", "trainer", "config", "seed")]
    assert about == [task, dataset, *config.split("/"), 1]
    assert RECORD <= found.keys() and all(found[key] for key in RECORD)
    assert METRICS[task] <= {*found["metrics"], *found["unsupported"]} and "H" not in found["unsupported"]


@pytest.mark.parametrize("config, dataset, task", RUNS)
def test_runs(data, features, archive, tmp_path, config, dataset, task):
    options = small(features)
    if "/miniclip" in config:
        options += ["MODEL.BACKBONE.NAME", archive]  # the embedded backbone takes longer
    found = rehearse(command(data, tmp_path / "out", config, dataset, *options, task=task))
    check(found, config, dataset, task)
    assert found["backbone"]["name"] == (str(archive) if "/miniclip" in config else "ViT-B/16")
    log = (tmp_path / "out/log.txt").read_text()
    assert log[log.index("Finish training") :].count("* accuracy: ") == 1  # what parse_test_res.py looks for


@pytest.fixture(scope="module")
def source(data, features, tmp_path_factory):
    """A run of CoOp_SHIP on all classes of ImageNet, from which transfers start."""
    out = tmp_path_factory.mktemp("source") / "run"
    config = "CoOp_SHIP/vit_b16"
    found = rehearse(command(data, out, config, "imagenet", *small(features), task="fewshot"))
    check(found, config, "imagenet", "fewshot")
    return out


@pytest.mark.parametrize("dataset, task", TARGETS)
def test_transfers_from_a_source_run(data, features, source, tmp_path, dataset, task):
    for trainer in ("CoOp", "CoOp_SHIP"):
        start = ["MODEL.INIT_WEIGHTS", source, "TRAINER.SHIP.INIT_FROM", source]
        config = f"{trainer}/vit_b16"
        found = rehearse(command(data, tmp_path / trainer, config, dataset, *small(features), *start, task=task))
        check(found, config, dataset, task)
        assert (found["source"], found["shots"]) == ("imagenet", SHOTS)


METHODS, _ = methods_and_compositions()
OTHERS = [name for name in trainers() if name not in METHODS]  # some of them: tests/trainers/plugins/test_ship.py


@pytest.mark.parametrize("trainer", [*METHODS, *(pytest.param(name, marks=pytest.mark.slow) for name in OTHERS)])
def test_a_killed_run_ends_like_one_left_alone(data, features, tmp_path, monkeypatch, trainer):
    """Killed before its second epoch and started once more: same metrics and remarks, every parameter equal; and so is
    its evaluation alone. A method that trains nothing is evaluated only."""
    options = [*small(features), "OPTIM.MAX_EPOCH", 2, "TRAIN.CHECKPOINT_SECONDS", 0.0]
    whole, cut = (command(data, tmp_path / name, f"{trainer}/vit_b16", "dtd", *options) for name in ("whole", "cut"))
    expected = rehearse(whole)
    parts = {"base", "all"} & expected["metrics"].keys()
    for part in parts:
        words = [*options, "DATASET.SUBSAMPLE_CLASSES", part]
        alone = command(data, tmp_path / part, f"{trainer}/vit_b16", "dtd", *words)
        alone = rehearse(["--eval-only", "--model-dir", str(tmp_path / "whole"), *alone])
        assert alone["metrics"]["accuracy"] == pytest.approx(expected["metrics"][part])
    if not trainers()[trainer].trains:
        return
    train_killed_before_epoch(monkeypatch, 1, cut)
    assert not (tmp_path / "cut/results.json").exists()
    found = rehearse(cut)
    logs = "".join(path.read_text() for path in (tmp_path / "cut").glob("log.txt*"))
    assert "after 1 epoch" in logs
    for field in ("metrics", "unsupported", "subset", "selection", "extra"):
        assert found[field] == expected[field]
    assert same_state(tmp_path / "whole", tmp_path / "cut")
