"""scripts/verify.py: known figures met; the right cause named for a swapped class, another template, wrong pixels."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import verify
from dassl.config import get_cfg_default
from dassl.data.transforms import transforms
from dassl.utils import UserError
from lib import verify as known
from safetensors import safe_open
from safetensors.torch import save_file
from torchvision import transforms as T

ROOT = Path(__file__).resolve().parents[2]
BANKS = ROOT / "datasets/banks"
TABLE1 = {  # the paper's Table 1 and 2, CLIP's row: typed here a second time
    "caltech101": {"base": 96.84, "new": 94.00, "all": 92.94},
    "eurosat": {"base": 56.48, "new": 64.05, "all": 47.60},
    "imagenet": {"base": 72.43, "new": 68.14, "all": 66.73},
}


def lines(text):
    """{data set: its line} of what verify.py printed."""
    return {line.split()[0]: line for line in text.splitlines() if line.strip()}


def test_the_shipped_banks_have_the_known_figures(capsys):
    assert verify.main([]) == 0
    out = lines(capsys.readouterr().out)
    assert out["caltech101"].split()[1:] == "66.49 (66.49) 58.19 (58.19) 57.57 (57.57) equal".split()
    assert out["eurosat"].split()[1:] == "37.70 (37.70) 19.90 (19.90) 18.75 (18.75) equal (reduced split)".split()


def exchanged(items, one, other):
    names = {one: other, other: one}
    return [[path, label, names.get(name, name)] for path, label, name in items]


def test_two_exchanged_classes_are_a_different_split(tmp_path, capsys):
    with safe_open(BANKS / "caltech101_miniclip.safetensors", framework="pt") as bank:
        tensors, header = {name: bank.get_tensor(name) for name in bank.keys()}, bank.metadata()
    split = json.loads(header["split"])
    header["split"] = json.dumps({part: exchanged(items, "airplane", "face") for part, items in split.items()})
    save_file(tensors, tmp_path / "swapped.safetensors", header)
    assert verify.main(["caltech101", "FEATURES.BANK", str(tmp_path / "swapped.safetensors")]) == 1
    line = lines(capsys.readouterr().out)["caltech101"]
    assert "different: split: class names differ" in line and "instead of cb0e193bd69a" in line
    assert not any(cause in line for cause in ("template:", "preprocessing:", "weights:"))


def test_another_template_is_named(capsys):
    assert verify.main(["Caltech101", "DATASET.TEMPLATE", "a blurry photo of a {}."]) == 1
    line = lines(capsys.readouterr().out)["caltech101"]
    assert 'different: template: "a blurry photo of a {}.", the figure belongs to "a photo of a {}."' in line
    assert "split:" not in line and "preprocessing:" not in line


# ---- images


@pytest.fixture(scope="module")
def tree(shared, tmp_path_factory):
    """A small Caltech101 in the real layout: 16 classes, 6 test images of each, links to real images."""
    source, root = shared / "data/caltech-101", tmp_path_factory.mktemp("data")
    split = json.loads((source / "split_zhou_Caltech101.json").read_text())
    classes = sorted({item[1] for item in split["test"]})[::6][:16]
    small = {part: [] for part in split}
    for part, count in (("train", 1), ("val", 1), ("test", 6)):
        for new, label in enumerate(classes):
            items = [item for item in split[part] if item[1] == label][:count]
            small[part] += [[path, new, name] for path, _, name in items]
    (root / "caltech-101").mkdir()
    (root / "caltech-101/split_zhou_Caltech101.json").write_text(json.dumps(small))
    for path, _, _ in (item for items in small.values() for item in items):
        target = root / "caltech-101/101_ObjectCategories" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to(source / "101_ObjectCategories" / path)
    return root


@pytest.fixture(scope="module")
def arguments(tree, tmp_path_factory):
    cache = tmp_path_factory.mktemp("cache")
    words = ["--root", str(tree), "--backbone", "MiniCLIP", "caltech101", "DATALOADER.NUM_WORKERS", "0"]
    return [*words, "FEATURES.DIR", str(cache)]


@pytest.fixture(scope="module")
def right(arguments):
    """known.Found of the small tree with everything as it should be."""
    return verify.measure(verify.parse_args(arguments), "caltech101")


@pytest.fixture
def small_is_known(right, monkeypatch):
    """Makes what was measured on the small tree the known figures."""
    data = known.KnownData(right.classes, right.names, "a photo of a {}.", {right.split_hash: right.sizes})
    backbone = known.known_backbone("MiniCLIP", "")
    figures = {"caltech101": {right.split_hash: {name: round(right.metrics[name], 2) for name in known.METRICS}}}
    monkeypatch.setattr(known, "known_data", lambda: {"caltech101": data})
    monkeypatch.setattr(known, "known_backbone", lambda *_: replace(backbone, figures=figures))


def test_images_are_verified_and_their_features_kept(arguments, right, small_is_known, capsys, tree):
    before = sorted(path.name for path in (tree / "caltech-101").iterdir())
    cache = sorted(os.listdir(arguments[-1]))
    assert len(cache) == 2  # base and new test images, as training will ask for them
    assert verify.main(arguments) == 0
    assert lines(capsys.readouterr().out)["caltech101"].split()[-1] == "equal"
    assert sorted(os.listdir(arguments[-1])) == cache
    assert sorted(path.name for path in (tree / "caltech-101").iterdir()) == before  # nothing written into the data


def test_left_out_normalisation_is_named(arguments, small_is_known, capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(transforms, "_to_tensor", lambda c, choices: [T.ToTensor()])
    assert verify.main([*arguments, "FEATURES.DIR", str(tmp_path)]) == 1
    line = lines(capsys.readouterr().out)["caltech101"]
    assert "different: preprocessing: pixels are not normalised" in line
    assert "split:" not in line and "template:" not in line and "weights:" not in line


def test_two_classes_exchanged_in_the_split_file(arguments, small_is_known, capsys, tree, monkeypatch):
    file = tree / "caltech-101/split_zhou_Caltech101.json"
    text = file.read_text()
    split = json.loads(text)
    one, other = (next(item[2] for item in split["test"] if item[1] == label) for label in (0, 1))
    file.write_text(json.dumps({part: exchanged(items, one, other) for part, items in split.items()}))
    try:
        assert verify.main(arguments) == 1
    finally:
        file.write_text(text)
    assert "different: split: class names differ" in lines(capsys.readouterr().out)["caltech101"]


def test_a_difference_without_a_cause_says_what_is_left(right, small_is_known):
    found = replace(right, metrics=dict.fromkeys(known.METRICS, 1.0))
    verdict, text, _, _ = verify.judge(found, "caltech101")
    assert verdict == "different" and "changed images" in text and found.cfg.FEATURES.DIR in text


# ---- ViT-B/16, without its weights


RUN = SimpleNamespace(FEATURES=SimpleNamespace(BANK="", DIR="features_cache"))


def vit(config, shift=0.0, **other):
    """known.Found of ViT-B/16 with everything as published, but for what is given."""
    data, backbone = known.known_data()[config], known.known_backbone("ViT-B/16", "")
    values = {name: percent + shift for name, percent in TABLE1[config].items()}
    right = {"metrics": values, "backbone": "ViT-B/16", "sha256": backbone.sha256, "split_hash": data.full}
    right |= {"names": data.names, "classes": data.classes, "sizes": data.splits[data.full]}
    right |= {"templates": [data.template], "bank": {}, "cfg": RUN}
    return known.Found(**{**right, **other})


def test_every_data_set_of_table_1_has_three_published_figures():
    figures = known.known_backbone("ViT-B/16", "").figures
    assert len(figures) == 11 and figures.keys() == known.known_data().keys()
    assert all(set(splits[known.known_data()[name].full]) == set(known.METRICS) for name, splits in figures.items())
    assert {name: figures[name][known.known_data()[name].full] for name in TABLE1} == TABLE1


@pytest.mark.parametrize(
    "shift, expected", [(0.0, "equal"), (-0.1, "equal"), (0.11, "near"), (-0.5, "near"), (0.51, "different")]
)
def test_verdicts(shift, expected):
    verdict, text, _, note = verify.judge(vit("caltech101", shift), "caltech101")
    assert verdict == expected and text.startswith(expected) and "fp16" in note


@pytest.mark.parametrize(
    "changed, cause",
    [
        ({"sha256": "0" * 64}, "weights: sha256 000000000000, ViT-B/16's is 5806e77cd80f"),
        ({"templates": ["{}"]}, 'template: "{}"'),
        ({"split_hash": "f" * 12, "sizes": (4000, 1700, 2465)}, "split: 4000/1700/2465 images"),
        ({"split_hash": "f" * 12}, "split: as many images, but others or under other labels"),
        ({"split_hash": "f" * 12, "classes": 101, "names": "x"}, "split: 101 classes, expected 100"),
        ({"bank": {"mean": [0.5, 0.5, 0.5]}}, "preprocessing: the bank was made with mean [0.5, 0.5, 0.5]"),
    ],
)
def test_causes(changed, cause):
    verdict, text, _, _ = verify.judge(vit("caltech101", 3.0, **changed), "caltech101")
    assert verdict == "different" and text.startswith(f"different: {cause}") and "; " not in text
    assert cause in verify.judge(vit("caltech101", **changed), "caltech101")[1]  # said also where the figure agrees


def test_split_of_unknown_hash_is_judged_by_names_and_counts():
    assert verify.judge(vit("imagenet", split_hash="e" * 12), "imagenet")[1] == "equal"
    found = vit("imagenet", 2.0, split_hash="e" * 12, names="other")
    assert verify.judge(found, "imagenet")[1].startswith("different: split: class names differ")


def test_a_reduced_split_is_not_held_against_published_figures():
    found = vit("eurosat", 9.0, split_hash="1ab5a3958fb1", sizes=(2000, 400, 2000))
    verdict, text, wanted, _ = verify.judge(found, "eurosat")
    assert (verdict, wanted) == ("unknown", {}) and text.startswith("warning: no figure is known of eurosat")


@pytest.mark.parametrize(
    "name, digest, backbone",
    [
        ("ViT-B/16", "", "ViT-B/16"),
        ("weights/ViT-B-16.pt", "", "ViT-B/16"),
        ("open_clip:ViT-B-16/openai", "", "ViT-B/16"),
        ("renamed.pt", "5806e77cd80f8b59890b7e101eabd078d9fb84e6937f9e85e4ecb61988df416f", "ViT-B/16"),
        ("open_clip:ViT-B-16/laion2b_s34b_b88k", "", None),
        ("RN50", "", None),
    ],
)
def test_backbones_are_known_by_weights_or_name(name, digest, backbone):
    found = known.known_backbone(name, digest)
    assert (found and found.name) == backbone


def test_known_preprocessing_and_hashes_are_the_backbones_own(miniclip_backbone):
    clip = pytest.importorskip("clip.clip")
    assert known.known_backbone("ViT-B/16", "").sha256 == clip._MODELS["ViT-B/16"].split("/")[-2]
    mini = known.known_backbone("MiniCLIP", "")
    assert mini.sha256 == miniclip_backbone.weights_hash
    assert (mini.preprocessing["mean"], mini.preprocessing["std"]) == (
        list(miniclip_backbone.pixel_mean),
        list(miniclip_backbone.pixel_std),
    )


# ---- preprocessing by what it does to an image


@pytest.mark.parametrize(
    "changed, fault",
    [
        ({}, ""),
        ({"TRANSFORMS": ("random_flip",)}, "pixels are not normalised"),
        ({"PIXEL_MEAN": [0.485, 0.456, 0.406], "PIXEL_STD": [0.229, 0.224, 0.225]}, "with ImageNet's mean and std"),
        ({"INTERPOLATION": "bilinear"}, "resized bilinearly"),
        ({"SIZE": (192, 192)}, "other pixels"),
        ({"NO_TRANSFORM": True}, "not transformed at all"),
    ],
)
def test_the_transform_in_force_is_tried_on_an_image(changed, fault):
    cfg, backbone = get_cfg_default(), known.known_backbone("ViT-B/16", "")
    want = backbone.preprocessing
    cfg.INPUT.PIXEL_MEAN, cfg.INPUT.PIXEL_STD, cfg.INPUT.INTERPOLATION = want["mean"], want["std"], "bicubic"
    cfg.INPUT.TRANSFORMS = ("random_flip", "normalize")
    for key, value in changed.items():
        cfg.INPUT[key] = value
    found = known.transform_fault(cfg, backbone)
    assert fault in found and bool(found) == bool(fault)


# ---- the command line


def test_missing_data_sets_are_named_and_no_error(tmp_path, capsys, monkeypatch):
    (tmp_path / "eurosat").mkdir()
    monkeypatch.setattr(verify, "measure", lambda args, config: vit(config))
    assert verify.main(["--root", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert lines(out)["eurosat"].split()[-1] == "equal" and "caltech101" not in lines(out)
    assert "imagenet, caltech101, oxford_pets" in lines(out)["not"]


def test_one_that_was_asked_for_and_is_missing_is_an_error(tmp_path, capsys):
    """The others are verified all the same."""
    words = ["--root", str(tmp_path), "--backbone", "MiniCLIP", "dtd", "FEATURES.DIR", str(tmp_path / "cache")]
    assert verify.main(words) == 2
    assert "dtd" in capsys.readouterr().err


def test_an_error_that_is_not_of_a_data_set_stops_it(capsys):
    names = ["caltech101", "eurosat", "dtd", "ucf101"]
    assert verify.main(["--root", str(ROOT / "docs"), "--backbone", "ViT-B/17", *names]) == 2
    assert capsys.readouterr().err.count("error: ") == 2


@pytest.mark.parametrize(
    "words, message",
    [
        (["caltech"], "no data set is called 'caltech'. Known, nearest first: caltech101"),
        (["--root", "/nowhere/at/all"], "--root /nowhere/at/all is not a folder"),
        (["--root", str(ROOT / "docs")], "none of the data sets' folders is below"),
        (["--backbone", "RN50"], "no feature bank of RN50 is shipped"),
    ],
)
def test_errors_say_what_to_type(words, message):
    with pytest.raises(UserError) as error:
        verify.main(words)
    assert message in str(error.value)


def test_an_unknown_option_is_an_error_of_the_data_set(capsys):
    assert verify.main(["caltech101", "DATASET.TEMPLAT", "{}"]) == 2
    assert "DATASET.TEMPLATE" in capsys.readouterr().err


def test_help_and_exit_code(capsys):
    with pytest.raises(SystemExit) as left:
        verify.main(["--help"])
    assert left.value.code == 0 and "DATASET ..." in capsys.readouterr().out
    command = [sys.executable, str(ROOT / "scripts/verify.py"), "nosuch"]
    done = subprocess.run(command, capture_output=True, text=True, cwd="/")
    assert done.returncode == 2 and done.stderr.startswith("error: no data set is called 'nosuch'")
