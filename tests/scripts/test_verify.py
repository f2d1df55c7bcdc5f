"""scripts/verify.py: known figures met; the right cause named for swapped classes, another template, other pixels."""

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
import verify
from dassl.config import get_cfg_default
from lib import verify as known
from safetensors import safe_open
from safetensors.torch import save_file

import trainers

ROOT = Path(__file__).resolve().parents[2]
BANK = ROOT / "datasets/banks/caltech101_miniclip.safetensors"
TABLE1 = {  # the paper's Table 1 and 2, CLIP's row: typed here a second time
    "caltech101": {"base": 96.84, "new": 94.00, "all": 92.94},
    "eurosat": {"base": 56.48, "new": 64.05, "all": 47.60},
    "imagenet": {"base": 72.43, "new": 68.14, "all": 66.73},
}


def lines(text):
    """{data set: its line} of what verify.py printed."""
    return {line.split()[0]: line for line in text.splitlines() if line.strip()}


def exchanged(items, one, other):
    names = {one: other, other: one}
    return [[path, label, names.get(name, name)] for path, label, name in items]


def test_the_shipped_banks_have_the_known_figures(capsys):
    assert verify.main([]) == 0
    out = lines(capsys.readouterr().out)
    assert out["caltech101"].split()[1:] == "66.49 (66.49) 58.19 (58.19) 57.57 (57.57) equal".split()
    assert out["eurosat"].split()[1:] == "37.70 (37.70) 19.90 (19.90) 18.75 (18.75) equal (reduced split)".split()


def test_causes_in_a_bank(tmp_path, capsys):
    """Two exchanged classes are another split; another template is named."""
    with safe_open(BANK, framework="pt") as bank:
        tensors, header = {name: bank.get_tensor(name) for name in bank.keys()}, bank.metadata()
    split = json.loads(header["split"])
    header["split"] = json.dumps({part: exchanged(items, "airplane", "face") for part, items in split.items()})
    header["format"] = "ship-bank-1"  # the format without a digest of the header
    save_file(tensors, tmp_path / "swapped.safetensors", header)
    assert verify.main(["caltech101", "FEATURES.BANK", str(tmp_path / "swapped.safetensors")]) == 1
    line = lines(capsys.readouterr().out)["caltech101"]
    assert "different: split: class names differ" in line and "instead of cb0e193bd69a" in line
    assert not any(cause in line for cause in ("template:", "preprocessing:", "weights:"))
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
    run = verify.measure(verify.parse_args(words), "caltech101")
    assert sorted(path.name for path in (tree / "caltech-101").iterdir()) == before  # nothing written into the data
    kept = sorted(os.listdir(cache))
    # what was measured becomes the known figures
    source = replace(known.SOURCE["caltech101"], classes=run.classes, sizes=tuple(run.sizes), resources=())
    monkeypatch.setitem(known.SOURCE, "caltech101", source)
    monkeypatch.setitem(known.DATASETS["caltech101"], "names", run.record["classnames_hash"])
    figures = {name: round(run.record["metrics"][name], 2) for name in known.METRICS}
    page = {**known.known_page("MiniCLIP"), "splits": {"caltech101": {known.FULL: figures}}}
    monkeypatch.setattr(known, "known_page", lambda *_: page)
    assert verify.main(words) == 0
    assert lines(capsys.readouterr().out)["caltech101"].split()[-1] == "equal" and sorted(os.listdir(cache)) == kept
    file = tree / "caltech-101/split_zhou_Caltech101.json"
    split = json.loads(file.read_text())
    one, other = (next(item[2] for item in split["test"] if item[1] == label) for label in (0, 1))
    file.write_text(json.dumps({part: exchanged(items, one, other) for part, items in split.items()}))
    assert verify.main(words) == 1
    assert "different: split: class names differ" in lines(capsys.readouterr().out)["caltech101"]


# ---- ViT-B/16, without its weights


def vit(config, shift=0.0, classes=None, sizes=None, **changed):
    """known.Measured of ViT-B/16 with everything as published, but for what is given."""
    source, page, cfg = known.SOURCE[config], known.known_page("ViT-B/16"), get_cfg_default()
    trainers.extend_cfg(cfg)
    want = page["preprocessing"]
    cfg.INPUT.PIXEL_MEAN, cfg.INPUT.PIXEL_STD, cfg.INPUT.INTERPOLATION = want["mean"], want["std"], "bicubic"
    cfg.INPUT.TRANSFORMS = ("random_flip", "normalize")
    for key in [key for key in changed if key.isupper()]:
        cfg.INPUT[key] = changed.pop(key)
    record = {"metrics": {name: percent + shift for name, percent in TABLE1[config].items()}}
    record |= {"split_hash": known.full_split(config), "classnames_hash": known.DATASETS[config]["names"]}
    record |= {"backbone": {"name": "ViT-B/16", "sha256": changed.pop("sha256", page["sha256"])}}
    record |= {"identity": {"template": changed.pop("template", known.DATASETS[config]["template"])}, **changed}
    return known.Measured(record, cfg, classes or source.classes, sizes or list(source.sizes))


def test_every_data_set_of_table_1_has_three_published_figures():
    page = known.known_page("ViT-B/16")
    figures = {name: known.known_figures(page, name, "") for name in known.DATASETS}
    assert len(figures) == 11 and all(set(values) == set(known.METRICS) for values in figures.values())
    assert {name: figures[name] for name in TABLE1} == TABLE1


@pytest.mark.parametrize(
    "shift, expected", [(0.0, "equal"), (-0.1, "equal"), (0.11, "near"), (-0.5, "near"), (0.51, "different")]
)
def test_verdicts(shift, expected):
    verdict, _, causes = known.judge(vit("caltech101", shift), "caltech101")
    assert verdict == expected and not causes


@pytest.mark.parametrize(
    "changed, cause",
    [
        ({"sha256": "0" * 64}, "weights: sha256 000000000000, ViT-B/16's is 5806e77cd80f"),
        ({"template": "{}"}, 'template: "{}"'),
        ({"split_hash": "f" * 12, "sizes": [4000, 1700, 2465]}, "split: [4000, 1700, 2465] images"),
        ({"split_hash": "f" * 12}, "split: hash ffffffffffff instead of cb0e193bd69a"),
        ({"split_hash": "f" * 12, "classes": 101, "classnames_hash": "x"}, "split: 101 classes, expected 100"),
        ({"split_hash": "f" * 12, "classnames_hash": "x"}, "split: class names differ"),
        ({"PIXEL_MEAN": [0.5, 0.5, 0.5]}, "preprocessing: mean [0.5, 0.5, 0.5], expected [0.48145466"),
        ({"INTERPOLATION": "bilinear"}, "preprocessing: interpolation bilinear, expected bicubic"),
        ({"SIZE": (192, 192)}, "preprocessing: size [192, 192], expected [224, 224]"),
    ],
)
def test_causes(changed, cause):
    verdict, _, causes = known.judge(vit("caltech101", 3.0, **changed), "caltech101")
    assert verdict == "different" and len(causes) == 1 and causes[0].startswith(cause)
    assert known.judge(vit("caltech101", **changed), "caltech101")[2] == causes  # also where the figure agrees


def test_known_preprocessing_and_hashes_are_the_backbones_own(miniclip_backbone):
    clip = pytest.importorskip("clip.clip")
    assert known.known_page("ViT-B/16")["sha256"] == clip._MODELS["ViT-B/16"].split("/")[-2]
    mini = known.known_page("MiniCLIP")
    assert mini["sha256"] == miniclip_backbone.weights_hash
    assert mini["preprocessing"]["mean"] == list(miniclip_backbone.pixel_mean)
    assert mini["preprocessing"]["std"] == list(miniclip_backbone.pixel_std)
