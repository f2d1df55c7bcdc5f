"""dassl.data: items, few-shot draws and their pickles, transforms, samplers, loaders."""

import os
import pickle
import random

import numpy as np
import pytest
import torch
from dassl.config import get_cfg_default
from dassl.data.data_manager import build_data_loader
from dassl.data.datasets import DatasetBase, Datum, read_fewshot, write_fewshot
from dassl.data.transforms import INTERPOLATION_MODES, build_transform
from dassl.utils import UserError, set_random_seed
from PIL import Image


def items(labels, domains=None, prefix="im"):
    domains = domains or [0] * len(labels)
    return [Datum(f"{prefix}{i}.png", y, d, f"class {y}") for i, (y, d) in enumerate(zip(labels, domains))]


def pictures(folder, count):
    """`count` Datum whose images are of one grey each, labels 0 and 1 in turn."""
    folder.mkdir(exist_ok=True)
    for i in range(count):
        Image.new("RGB", (12, 10), (i, i, i)).save(folder / f"{i}.png")
    return [Datum(str(folder / f"{i}.png"), label=i % 2, classname=["even", "odd"][i % 2]) for i in range(count)]


def config(**values):
    cfg = get_cfg_default()
    fixed = {"VERBOSE": False, "INPUT__SIZE": (8, 8), "INPUT__TRANSFORMS": ("normalize",), "DATALOADER__NUM_WORKERS": 0}
    cfg.merge_from_list([x for key, value in (fixed | values).items() for x in (key.replace("__", "."), value)])
    return cfg


def test_datum_has_the_attributes_that_pickles_name():
    item = Datum(impath="no/such/file.jpg", label=np.int64(3), domain=1, classname="cat")
    assert Datum.__module__ == "dassl.data.datasets.base_dataset"
    assert vars(item) == {"_impath": "no/such/file.jpg", "_label": 3, "_domain": 1, "_classname": "cat"}
    assert type(item.label) is int and (item.impath, item.domain, item.classname) == ("no/such/file.jpg", 1, "cat")
    with pytest.raises(UserError):
        Datum("a", label="3", classname="b")


def test_fewshot_order_of_draws(capsys):
    """Per label in order of appearance random.sample, train before val; nothing else touches the generator, also not
    classes with too few items, which keep theirs in order."""
    train, val, few = items([2, 0, 1] * 6), items([2, 0, 1] * 5, prefix="val"), items([1, 1, 1, 0, 0])
    draw = DatasetBase(train_x=train, test=[]).generate_fewshot_dataset
    set_random_seed(3)
    assert draw(few, num_shots=4) == few and draw(few) is few
    drawn = draw(train, num_shots=5), draw(val, num_shots=4)
    random.seed(3)
    for part, source, shots in zip(drawn, (train, val), (5, 4)):
        assert part == [x for y in (2, 0, 1) for x in random.sample([x for x in source if x.label == y], shots)]
    assert "Creating a 5-shot dataset" in capsys.readouterr().out


def test_fewshot_pickles_are_those_of_coop(tmp_path):
    train, val = items([0, 1]), items([0])
    path = tmp_path / "sub" / "shot_1-seed_1.pkl"
    write_fewshot(str(path), train, val)
    content = pickle.loads(path.read_bytes())  # as CoOp's readers do
    assert [vars(x) for x in content["train"]] == [vars(x) for x in train]
    for protocol in (2, pickle.HIGHEST_PROTOCOL):
        path.write_bytes(pickle.dumps({"train": train, "val": val}, protocol=protocol))
        got = read_fewshot(str(path))
        assert [vars(x) for x in got["train"] + got["val"]] == [vars(x) for x in train + val]
        assert all(type(x) is Datum for x in got["train"])


class Call:
    def __init__(self, function, *args):
        self.call = function, args

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize(
    "content, reason",
    [
        (pickle.dumps({"train": [Call(os.mkdir, "owned")], "val": []}), "names posix.mkdir"),
        (pickle.dumps({"train": [1], "val": []}), "no list of Datum"),
        # BUILD with the class itself as its object: must not change Datum for the rest of the process
        (b"(dS'train'\n(lcdassl.data.datasets.base_dataset\nDatum\n(N(dS'label'\nI9\nstbas.", "no list of Datum"),
    ],
)
def test_other_pickles_are_refused_by_name(tmp_path, monkeypatch, content, reason):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shot_1-seed_1.pkl").write_bytes(content)
    with pytest.raises(UserError, match=f"shot_1-seed_1.pkl is refused.*{reason}") as error:
        read_fewshot("shot_1-seed_1.pkl")
    assert "\n" not in str(error.value) and os.listdir(tmp_path) == ["shot_1-seed_1.pkl"]
    assert Datum("a", 4, 0, "b").label == 4


def noise():
    return Image.fromarray(np.random.default_rng(0).integers(0, 255, (20, 32, 3), dtype=np.uint8))


def test_test_transform_resizes_the_shorter_side_and_crops():
    cfg = config(INPUT__INTERPOLATION="bicubic", INPUT__PIXEL_MEAN=[0.5, 0.4, 0.3], INPUT__PIXEL_STD=[0.2, 0.3, 0.4])
    got = build_transform(cfg, is_train=False)(noise())
    resized = noise().resize((12, 8), Image.BICUBIC)  # 32 x 20: the shorter side becomes 8, the other int(32 * 8 / 20)
    expected = torch.from_numpy(np.array(resized.crop((2, 0, 10, 8)))).permute(2, 0, 1) / 255
    expected = (expected - torch.tensor([0.5, 0.4, 0.3]).view(3, 1, 1)) / torch.tensor([0.2, 0.3, 0.4]).view(3, 1, 1)
    assert got.shape == (3, 8, 8) and torch.allclose(got, expected, atol=1e-6)


def test_train_transforms_apply_what_the_config_lists():
    plain = build_transform(config(INPUT__TRANSFORMS=()))(noise())
    assert plain.shape == (3, 8, 8) and plain.min() >= 0
    crop = build_transform(config(INPUT__TRANSFORMS=("random_flip", "random_resized_crop", "normalize")))
    assert len({crop(noise()).sum().item() for _ in range(8)}) > 4 and crop(noise()).shape == (3, 8, 8)
    names = [type(step).__name__ for step in crop.transforms]
    assert names == ["RandomResizedCrop", "RandomHorizontalFlip", "ToTensor", "Normalize"]
    with pytest.raises(UserError, match="'random_flop'; known, nearest first: random_flip"):
        build_transform(config(INPUT__TRANSFORMS=("random_flop",)))
    assert build_transform(config(INPUT__NO_TRANSFORM=True)) is None and {*INTERPOLATION_MODES} >= {"bicubic"}
    every = "random_crop random_flip colorjitter randomgrayscale gaussian_blur randaugment imagenet_policy svhn_policy"
    assert build_transform(config(INPUT__GB_K=3), choices=every.split())(noise()).shape == (3, 8, 8)


@pytest.mark.parametrize("count, sizes", [(3, [3]), (7, [4])])
def test_training_drops_the_last_partial_batch_iff_there_is_a_full_one(tmp_path, count, sizes):
    data, tfm = pictures(tmp_path / "p", count), build_transform(config())
    loader = build_data_loader(config(), "RandomSampler", data, batch_size=4, tfm=tfm)
    assert [len(batch["label"]) for batch in loader] == sizes
    loader = build_data_loader(config(), "SequentialSampler", data, 4, tfm=tfm, is_train=False)
    assert sum(len(batch["label"]) for batch in loader) == count


def test_an_unreadable_image_is_named_also_by_a_worker(tmp_path):
    data = pictures(tmp_path / "p", 4)
    (tmp_path / "p" / "2.png").write_bytes(b"\x89PNG broken")
    cfg = config(DATALOADER__NUM_WORKERS=1)
    loader = build_data_loader(cfg, "SequentialSampler", data, 2, tfm=build_transform(cfg), is_train=False)
    with pytest.raises(UserError, match="cannot read the image .*2.png") as error:
        list(loader)
    assert "\n" not in str(error.value)
