"""Which training images a few-shot selection leaves over: what a search without validation images may look at."""

import pytest


@pytest.mark.parametrize("subset", ["all", "base", "new"])
@pytest.mark.parametrize("shots", [-1, 1, 4, 16])
def test_train_and_left_over_images_are_all_training_images_of_the_classes(load, caltech, subset, shots):
    whole, few = load("Caltech101", caltech, subset=subset), load("Caltech101", caltech, shots, subset=subset)
    drawn, left = ({(d.impath, d.label, d.classname) for d in part} for part in (few.train_x, few.unused_train))
    assert not drawn & left and len(left) == len(few.unused_train)
    assert drawn | left == {(d.impath, d.label, d.classname) for d in whole.train_x}
    assert bool(left) == (shots > 0)


def test_a_class_with_fewer_images_than_shots_leaves_none(load, caltech):
    data = load("Caltech101", caltech, 4)
    left = [d.classname for d in data.unused_train]
    assert {name: left.count(name) for name in data.classnames} == {"face": 16, "ant": 0, "bass": 16, "crab": 16}
