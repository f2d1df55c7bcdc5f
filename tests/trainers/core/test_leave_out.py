"""Leave-classes-out inside the shots: the draw, what it refuses, and that no choice reads a test or a new image."""

from types import SimpleNamespace

import pytest
from dassl.data.datasets import Datum
from dassl.utils import UserError
from runs import argv, results
from tiny_data import NAMES, make_bank

import train
from trainers.core.data import Store
from trainers.core.leave_out import leave_out


def items(part, classes, count):
    return [Datum(f"{c}/{part}_{i}", c, classname=f"class {c}") for c in range(classes) for i in range(count)]


def dataset(train_x, val=(), test=()):
    return SimpleNamespace(train_x=list(train_x), val=list(val), test=list(test))


def paths(items):
    return {item.impath for item in items}


def test_the_shots_alone_make_a_problem_of_half_the_size():
    """6 classes, 4 shots, nothing else."""
    drawn, test = items("train", 6, 4), items("test", 6, 2)
    base, new = leave_out(dataset(drawn, test=test), dataset(drawn, test=test), 4, seed=1)
    assert [base.num_classes, new.num_classes] == [3, 3] and not set(base.classnames) & set(new.classnames)
    for half in (base, new):
        assert len(half.train_x) == len(half.test) == 6 and not paths(half.train_x) & paths(half.test)
        assert sorted({item.label for item in half.test}) == [0, 1, 2]
        assert all(half.classnames[item.label] == item.classname for item in half.test + half.train_x)
    assert not (base.val or base.unused_train)
    other = leave_out(dataset(drawn, test=test), dataset(drawn, test=test), 4, seed=1, fold=1)
    assert paths(other[0].train_x) != paths(base.train_x)  # another draw; the same one again:
    assert paths(leave_out(dataset(drawn), dataset(drawn), 4, seed=1)[0].train_x) == paths(base.train_x)


def test_left_over_and_validation_images_join_the_judges():
    every, val, test = items("train", 4, 8), items("val", 4, 3), items("test", 4, 2)
    drawn = [item for item in every if int(item.impath[-1]) < 4]
    few = [item for item in val if item.impath.endswith("0")]
    base, new = leave_out(dataset(drawn, few, test), dataset(every, val, test), 4, seed=1)
    for half in (base, new):
        assert len(half.train_x) == 2 * 2 and len(half.test) == 2 * (2 + 4 + 2)  # judging, left over, validation
    assert paths(base.val) <= paths(few) and not paths(base.val) & paths(base.test)
    assert not paths(base.test + new.test) & paths(test)


@pytest.mark.parametrize("classes, shots", [(3, 4), (6, 1)])
def test_too_few_classes_or_shots_are_refused(classes, shots):
    drawn = items("train", classes, shots)
    with pytest.raises(UserError, match="needs 4 base classes with two training images or more"):
        leave_out(dataset(drawn), dataset(drawn), shots, seed=1)


@pytest.mark.parametrize(
    "trainer, task",
    [
        *((trainer, "base2new") for trainer in ("GaussianLDA_SHIP_GATE", "Tip_Adapter_F_SHIP_GATE", "PVA", "Ensemble")),
        *((trainer, "gzsl") for trainer in ("CoOp_SHIP_SAR", "TF_VAEGAN", "f_CLSWGAN")),
    ],
)
def test_no_choice_reads_a_test_image_or_an_image_of_a_new_class(
    tmp_path, monkeypatch, miniclip_backbone, trainer, task
):
    """The door of all stores fails when it is asked for one: a fold runs to its figures, a run to its end before
    evaluation."""
    names = [*NAMES, "chair"]
    bank = make_bank(tmp_path / "bank.safetensors", miniclip_backbone, names=names, train=8, val=4, noise=4.0)
    find = Store._features

    def guarded(store, wanted, views):
        wrong = [item.impath for item in wanted if "/test_" in item.impath or item.classname in names[4:]]
        assert not wrong, f"{wrong[0]} was read"
        return find(store, wanted, views)

    monkeypatch.setattr(Store, "_features", guarded)
    options = ["DATASET.NUM_SHOTS", "8", "TRAINER.SHIP.GENERATOR", "gaussian"]
    train.main(argv(bank, tmp_path / "fold", trainer, *options, task="leave_classes_out"))
    assert {"H", "all", "all_H", "ausuc"} <= results(tmp_path / "fold")["metrics"].keys()
    train.main(argv(bank, tmp_path / "run", trainer, *options, "TEST.NO_TEST", "True", task=task))


def test_halves_drawn_by_a_seed(tiny_bank, tmp_path):
    """Base and new are each other's complement, in the order of labels, and part of what a run is."""
    found = []
    for seed in (-1, 0, 0, 1):
        args = argv(tiny_bank, tmp_path, "ZeroshotCLIP", "DATASET.HALVES_SEED", str(seed))
        trainer = train.build_trainer(train.setup_cfg(train.parse_args(args)))
        trainer.open_data(training=True)
        base, new = trainer.task.real_classnames(), trainer.task.label_only_classnames()
        assert sorted(base + new) == sorted(NAMES) and base == sorted(base, key=NAMES.index) and len(base) == 4
        found.append(base)
    assert found[0] == NAMES[:4] and found[1] == found[2] and len({*map(tuple, found)}) == 3
