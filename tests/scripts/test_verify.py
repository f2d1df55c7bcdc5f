"""scripts/verify.py: known figures met; the right cause named for swapped classes, another template, other pixels."""

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
import verify
import yaml
from safetensors.torch import save_file

from trainers.core.bank_header import OLDEST

ROOT = Path(__file__).resolve().parents[2]
MINI, VIT = verify.PAGES


def lines(text):
    """{data set: its line} of what verify.py printed."""
    return {line.split()[0]: line for line in text.splitlines() if line.strip()}


def test_the_shipped_banks_have_the_known_figures(capsys):
    assert verify.main([]) == 0
    out = lines(capsys.readouterr().out)
    assert out["caltech101"].split()[1:] == "66.49 (66.49) 58.19 (58.19) 57.57 (57.57) equal".split()
    assert out["eurosat"].split()[1:] == "37.70 (37.70) 19.90 (19.90) 18.75 (18.75) equal".split()
    assert verify.main(["Caltech101", "DATASET.TEMPLATE", "a blurry photo of a {}."]) == 1
    line = lines(capsys.readouterr().out)["caltech101"]
    assert 'different: template: "a blurry photo of a {}.", the figure belongs to "a photo of a {}."' in line
    assert "split:" not in line and "preprocessing:" not in line


@pytest.fixture
def tree(shared, tmp_path):
    """A small Caltech101 in the real layout: 8 classes, 3 test images of each, links to real images."""
    source, root = shared / "data/caltech-101", tmp_path / "data"
    split = json.loads((source / "split_zhou_Caltech101.json").read_text())
    classes = sorted({item[1] for item in split["test"]})[::12][:8]
    small = {part: [] for part in split}
    for part, count in (("train", 1), ("val", 1), ("test", 3)):
        for new, label in enumerate(classes):
            items = [item for item in split[part] if item[1] == label][:count]
            small[part] += [[path, new, name] for path, _, name in items]
    (root / "caltech-101").mkdir(parents=True)
    (root / "caltech-101/split_zhou_Caltech101.json").write_text(json.dumps(small))
    for path, _, _ in (item for items in small.values() for item in items):
        target = root / "caltech-101/101_ObjectCategories" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to(source / "101_ObjectCategories" / path)
    return root


def test_images_are_verified_and_their_features_kept(tree, tmp_path, capsys, monkeypatch):
    """And two classes that were exchanged in the split file are found."""
    cache, before = tmp_path / "cache", sorted(path.name for path in (tree / "caltech-101").iterdir())
    words = ["--root", str(tree), "--backbone", "MiniCLIP", "caltech101", "DATALOADER.NUM_WORKERS", "0"]
    words += ["FEATURES.DIR", str(cache)]
    record = verify.measure(verify.parse_args(words), "caltech101")
    assert sorted(path.name for path in (tree / "caltech-101").iterdir()) == before  # nothing written into the data
    kept = sorted(os.listdir(cache))
    # what was measured becomes the known figures
    monkeypatch.setitem(verify.SOURCE, "caltech101", replace(verify.SOURCE["caltech101"], resources=()))
    monkeypatch.setitem(verify.DATASETS["caltech101"], "names", record["classnames_hash"])
    figures = {name: round(record["metrics"][name], 2) for name in verify.METRICS}
    monkeypatch.setitem(MINI["figures"], "caltech101", figures)
    assert verify.main(words) == 0
    assert lines(capsys.readouterr().out)["caltech101"].split()[-1] == "equal" and sorted(os.listdir(cache)) == kept
    file = tree / "caltech-101/split_zhou_Caltech101.json"
    split = json.loads(file.read_text())
    one, other, *_ = dict.fromkeys(name for *_, name in split["test"])
    for item in (item for items in split.values() for item in items):
        item[2] = {one: other, other: one}.get(item[2], item[2])
    file.write_text(json.dumps(split))
    assert verify.main(words) == 1
    assert "different: split: class names, or their order, differ" in lines(capsys.readouterr().out)["caltech101"]


# ---- ViT-B/16, without its weights


def judged(shift=0.0, **changed):
    """verify.judge of ViT-B/16 on Caltech101 with everything as published, but for what is given."""
    about = verify.DATASETS["caltech101"]
    record = {"metrics": {name: percent + shift for name, percent in VIT["figures"]["caltech101"].items()}}
    record |= {"split_hash": "cb0e193bd69a", "classnames_hash": about["names"], "bank": None}
    record |= {"backbone": {"name": "ViT-B/16", "sha256": changed.pop("sha256", VIT["sha256"])}}
    record |= {"identity": {"template": changed.pop("template", about["template"])}, **changed}
    return verify.judge(record, "caltech101")


def test_known_figures_are_the_published_ones():
    """Those of CLIP's rows in the paper's Tables 1 and 2; ImageNet over all classes is not in them."""
    values = {}
    for number in (1, 2):
        table = yaml.safe_load((ROOT / f"configs/papers/ship/table{number}.yaml").read_text())
        values[number] = next(row["values"] for row in table["rows"] if row.get("trainer") == verify.TRAINER)
    assert VIT["figures"].keys() == verify.DATASETS.keys() and len(VIT["figures"]) == 11
    for name, figures in VIT["figures"].items():
        assert [figures["base"], figures["new"]] == values[1][name][:2]
        assert [figures["all"]] == values[2].get(name, [66.73])


@pytest.mark.parametrize(
    "shift, expected", [(0.0, "equal"), (-0.1, "equal"), (0.11, "near"), (-0.5, "near"), (0.51, "different")]
)
def test_verdicts(shift, expected):
    verdict, _, causes = judged(shift)
    assert verdict == expected and causes == [verify.NOTHING] * (expected == "different")


@pytest.mark.parametrize(
    "changed, cause",
    [
        ({"sha256": "0" * 64}, "weights: sha256 000000000000, ViT-B/16's is 5806e77cd80f"),
        ({"template": "{}"}, 'template: "{}"'),
        ({"split_hash": "f" * 12}, "split: hash ffffffffffff instead of cb0e193bd69a"),
        ({"bank": {"path": "192.safetensors"}}, "preprocessing: size [192, 192], expected [224, 224]"),
    ],
)
def test_causes(changed, cause, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    about = {"format": OLDEST, "preprocess": '{"size": [192, 192], "interpolation": "bicubic"}'}
    save_file({}, "192.safetensors", about)
    verdict, _, (found,) = judged(3.0, **changed)
    assert verdict == "different" and found.startswith(cause)
    assert judged(**changed)[2] == [found]  # also where the figure agrees


def test_known_preprocessing_and_hashes_are_the_backbones_own(miniclip_backbone):
    clip = pytest.importorskip("clip.clip")
    assert VIT["sha256"] == clip._MODELS["ViT-B/16"].split("/")[-2]
    assert MINI["sha256"] == miniclip_backbone.weights_hash
    assert MINI["preprocessing"]["mean"] == list(miniclip_backbone.pixel_mean)
    assert MINI["preprocessing"]["std"] == list(miniclip_backbone.pixel_std)
