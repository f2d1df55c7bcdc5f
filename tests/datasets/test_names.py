"""Class names of data sets: read as all lists are, and told where two stand for the same class."""

from helpers.trees import add_aircraft, add_imagenet


def test_names_that_a_published_data_set_repeats_are_told_and_kept(load, tmp_path, capsys):
    add_imagenet(tmp_path, ["n03773504", "n04008634", "n01440764"])
    assert load("ImageNet", tmp_path).classnames == ["tench", "missile", "missile"]
    assert "1 class names stand for more than one class: missile" in capsys.readouterr().out


def test_a_data_sets_own_list_may_have_comments_and_a_bom(load, tmp_path):
    top = add_aircraft(tmp_path, ["707-320", "727-200"])
    (top / "variants.txt").write_text("\ufeff# variants\n707-320\n\n727-200\n", encoding="utf-8")
    assert load("FGVCAircraft", tmp_path).classnames == ["707-320", "727-200"]
