"""Joint metrics, and the task leave_classes_out: by hand, and through the real command line on tiny banks."""

import re

import pytest
import torch
from dassl.utils import UserError
from helpers.banks import read_bank
from plain import hand_written
from runs import JUDGES, argv, log, open_data, results
from tiny_data import NAMES, features_of, make_bank

import train

BASE = NAMES[:4]
JOINT = {"all_base", "all_new", "all_H", "crossed_base", "crossed_new"}


@pytest.fixture(scope="module")
def bank(tmp_path_factory, miniclip_backbone):
    """Noisy enough that each side makes both kinds of mistakes."""
    path = tmp_path_factory.mktemp("joint") / "noisy.safetensors"
    return make_bank(path, miniclip_backbone, noise=8.0, train=9, val=7, test=11)


def zero_shot_rows(backbone, bank):
    """(label, prediction among all names, prediction among the names of its side) of each test image."""
    rows, text = [], hand_written(backbone, NAMES)
    for x, label in zip(*features_of(bank), strict=True):
        scores = (text @ x).tolist()
        side = range(4) if label < 4 else range(4, 7)
        rows.append((int(label), max(range(7), key=scores.__getitem__), max(side, key=scores.__getitem__)))
    return rows


def share(rows, holds):
    return 100 * sum(map(holds, rows)) / len(rows)


# ---- joint metrics


def test_a_base_to_new_run_has_them_beside_the_metrics_it_had(bank, miniclip_backbone, tmp_path):
    train.main(argv(bank, tmp_path, "ZeroshotCLIP"))
    rows, found = zero_shot_rows(miniclip_backbone, bank), results(tmp_path)["metrics"]
    base, new = ([row for row in rows if (row[0] < 4) == side] for side in (True, False))
    right = {"all_base": base, "all_new": new, "all": rows}
    expected = {name: share(part, lambda row: row[0] == row[1]) for name, part in right.items()}
    expected |= {name: share(part, lambda row: row[0] == row[2]) for name, part in (("base", base), ("new", new))}
    expected["crossed_base"] = share(base, lambda row: row[1] >= 4)
    expected["crossed_new"] = share(new, lambda row: row[1] < 4)
    for name, (one, other) in {"H": ("base", "new"), "all_H": ("all_base", "all_new")}.items():
        expected[name] = 2 * expected[one] * expected[other] / (expected[one] + expected[other])
    assert {*found} == {*expected} | JUDGES and {name: found[name] for name in expected} == pytest.approx(expected)
    assert all(0 < expected[name] < 100 for name in expected)

    after = log(tmp_path)[log(tmp_path).index("Finish training") :]
    assert re.findall(r"\* accuracy: ([\.\deE+-]+)%", after) == [f"{found['base']:.1f}"]  # what parse_test_res.py reads
    printed = dict(re.findall(r"^\* (\w+): ([\d.]+)%", after, re.MULTILINE))
    lines = {"all_base_accuracy": "all_base", "all_new_accuracy": "all_new", "all_H": "all_H"}
    lines |= {name: name for name in ("crossed_base", "crossed_new", "H")}
    assert {line: f"{found[name]:.1f}" for line, name in lines.items()}.items() <= printed.items()


def test_on_a_fixed_subset_they_are_marked(bank, tmp_path):
    train.main(argv(bank, tmp_path, "ZeroshotCLIP", "TEST.ALL_SUBSET", "21"))
    found = results(tmp_path)
    expected = dict.fromkeys(("all", "ausuc", "openworld_auc", "auroc"), {"images": 21, "of": 77})
    expected |= dict.fromkeys(("all_base", "crossed_base", "ece_base"), {"images": 12, "of": 44})
    expected |= dict.fromkeys(("all_new", "crossed_new", "ece_new"), {"images": 9, "of": 33})
    assert found["subset"] == expected
    parts = found["metrics"]["all_base"] * 12 + found["metrics"]["all_new"] * 9
    assert found["metrics"]["all"] == pytest.approx(parts / 21)


# ---- leave classes out, of which test_leave_out.py has the draw


def test_accuracy_over_the_left_out_images_by_hand(miniclip_backbone, tmp_path):
    """Zero-shot: left-over training images in their first view and validation images, none that a search may see."""
    bank = make_bank(tmp_path / "noisy.safetensors", miniclip_backbone, noise=20.0, train=9, val=7)
    words = argv(bank, tmp_path, "ZeroshotCLIP", task="leave_classes_out", seed=2)
    train.main(words)
    task = open_data(words).task
    tensors, header = read_bank(bank)
    split, rows = header["split"], {}
    for part in ("train", "val"):
        starts = tensors["train.offsets"][:-1].tolist() if part == "train" else range(len(split["val"]))
        rows |= {path: tensors[f"{part}.features"][at].float() for (path, _, _), at in zip(split[part], starts)}
    found, names = results(tmp_path)["metrics"], task.real_classnames() + task.label_only_classnames()
    text = hand_written(miniclip_backbone, names)
    hits = []
    for half, shift in ((task.dataset, 0), (task.new_half, 2)):
        scores = torch.stack([text @ rows[item.impath] for item in half.test])
        labels = torch.tensor([item.label + shift for item in half.test])
        hits.append((scores.argmax(1) == labels).double().mean().item() * 100)
    assert [found["all_base"], found["all_new"]] == pytest.approx(hits) and names != BASE
    assert sorted(names) == sorted(BASE) and 0 < min(hits) and max(hits) < 100


def test_seen_classes_of_proposed_splits_are_halved(miniclip_backbone, tmp_path):
    about = {"dataset": "FLO", "train": 9, "val": 0, "unseen": 2, "noise": 6.0}
    bank = make_bank(tmp_path / "flo.safetensors", miniclip_backbone, **about)
    train.main(argv(bank, tmp_path / "out", "CoOp", task="leave_classes_out", dataset="flo"))
    assert set(results(tmp_path / "out")["metrics"]) == {"base", "new", "all", "H"} | JOINT | JUDGES
    assert torch.load(tmp_path / "out/prompt_learner/model.pth.tar-3", weights_only=True)["classnames"] != NAMES[:3]
    assert "3 classes with 6 images to fit, 2 by name alone" in log(tmp_path / "out")


def test_it_is_not_evaluated_again(bank, tmp_path):
    train.main(argv(bank, tmp_path / "run", "CoOp", task="leave_classes_out"))
    again = argv(bank, tmp_path / "again", "CoOp", task="leave_classes_out")
    with pytest.raises(UserError, match="--eval-only set TASK base2new"):
        train.main(["--eval-only", "--model-dir", str(tmp_path / "run"), *again])
