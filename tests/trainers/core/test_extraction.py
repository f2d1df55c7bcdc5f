"""From images to cached features: verification, interruption, many processes, broken images. The image encoder is a
cheap stand-in."""

import multiprocessing
import os
import time
from concurrent.futures import ProcessPoolExecutor
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from dassl.config import get_cfg_default
from dassl.utils import UserError
from PIL import Image

import trainers
from trainers.core.extraction import ImageStore


class Encoder:
    """Mean colours of the four quarters of an image as its feature; counts how many images it has seen."""

    name, weights_hash, dtype, embed_dim = "stand-in", "0" * 64, torch.float32, 12
    logit_scale = torch.zeros(())

    def __init__(self):
        self.seen, self.visual = 0, torch.nn.Identity()

    def encode_image(self, images):
        self.seen += len(images)
        return F.normalize(F.adaptive_avg_pool2d(images, 2).flatten(1) + 3, dim=-1)


@pytest.fixture
def images(tmp_path):
    """Twelve random images in two folders. -> (image_dir, items)"""
    draw = torch.Generator().manual_seed(0)
    items = []
    for i in range(12):
        file = tmp_path / "images" / f"class{i % 2}" / f"{i:02d}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((torch.rand(40, 50, 3, generator=draw) * 255).byte().numpy()).save(file)
        items.append(SimpleNamespace(impath=str(file), label=i % 2))
    return str(tmp_path / "images"), items


def make_store(tmp_path, image_dir, **changes):
    cfg = get_cfg_default()
    trainers.extend_cfg(cfg)
    cfg.FEATURES.DIR, cfg.FEATURES.VIEWS, cfg.INPUT.SIZE = str(tmp_path / "cache"), 3, (32, 32)
    cfg.INPUT.TRANSFORMS, cfg.DATALOADER.NUM_WORKERS = ("random_resized_crop", "random_flip", "normalize"), 0
    cfg.merge_from_list([part for item in changes.items() for part in item])
    return ImageStore(cfg, Encoder(), image_dir)


def cached(folder):
    """The files of features in the cache below `folder`, parts included."""
    return sorted((folder / "cache").rglob("*.safetensors"))


def test_views_depend_on_path_number_and_features_seed_alone(tmp_path, images):
    image_dir, items = images
    whole = make_store(tmp_path / "a", image_dir).training_views(items)
    assert whole.views.tolist() == [3] * 12 and not torch.equal(whole.features[0], whole.features[1])
    some = make_store(tmp_path / "b", image_dir).training_views(items[7:4:-1])
    assert torch.equal(some.features.view(3, 3, -1), whole.features.view(12, 3, -1)[[7, 6, 5]])
    other = make_store(tmp_path / "c", image_dir, **{"FEATURES.SEED": 1}).training_views(items)
    assert not torch.equal(other.features, whole.features)


def test_the_cache_knows_every_setting_the_backbone_and_the_content_of_images(tmp_path, images):
    """What counts of an image is its content, not its time."""
    image_dir, items = images
    for option, value in (
        ("FEATURES.SEED", 0),
        ("FEATURES.SEED", 1),
        ("FEATURES.VIEWS", 2),
        ("INPUT.TRANSFORMS", ("random_flip", "normalize")),
        ("INPUT.RRCROP_SCALE", (0.5, 1.0)),
        ("INPUT.PIXEL_MEAN", [0.1, 0.1, 0.1]),
        ("INPUT.INTERPOLATION", "bicubic"),
    ):
        for seen in (len(items) * (2 if option == "FEATURES.VIEWS" else 3), 0):
            store = make_store(tmp_path, image_dir, **{option: value})
            store.training_views(items)
            assert store.backbone.seen == seen, option
    os.utime(items[3].impath, (time.time(), time.time() + 5))
    again, changed, other = (make_store(tmp_path, image_dir) for _ in range(3))
    again.training_views(items)
    Image.new("RGB", (40, 50), (1, 2, 3)).save(items[3].impath)
    changed.training_views(items)
    other.backbone.weights_hash = "1" * 64
    other.training_views(items)
    assert (again.backbone.seen, changed.backbone.seen, other.backbone.seen) == (0, 36, 36)


def test_a_damaged_cache_says_so_and_is_rebuilt(tmp_path, images, capsys):
    image_dir, items = images
    good = make_store(tmp_path, image_dir).plain_views(items)
    (file,) = cached(tmp_path)
    whole = bytearray(file.read_bytes())
    whole[-3] ^= 1
    file.write_bytes(whole)
    again = make_store(tmp_path, image_dir)
    assert torch.equal(again.plain_views(items).features, good.features) and again.backbone.seen == 12
    assert "damaged" in capsys.readouterr().out


def use_cold_cache(folder, image_dir, items):
    store = make_store(folder, image_dir, **{"DATALOADER.NUM_WORKERS": 2})
    return store.training_views(items).features.numpy(), store.backbone.seen


def test_processes_on_a_cold_cache_encode_once_and_agree(tmp_path, images):
    """Three start together; whoever comes first encodes, the others wait. They are spawned: a fork of a process whose
    PyTorch has used its threads may hang."""
    image_dir, items = images
    expected = make_store(tmp_path / "whole", image_dir).training_views(items).features.numpy()
    with ProcessPoolExecutor(3, mp_context=multiprocessing.get_context("spawn")) as pool:
        found = [*pool.map(use_cold_cache, [tmp_path] * 3, [image_dir] * 3, [items] * 3)]
    assert all((features == expected).all() for features, _ in found)
    assert sorted(seen for _, seen in found) == [0, 0, 36] and len(cached(tmp_path)) == 1


def test_an_unreadable_image_is_named_or_skipped_and_counted(tmp_path, images, capsys):
    image_dir, items = images
    with open(items[5].impath, "wb") as file:
        file.write(b"no image")
    os.remove(items[7].impath)
    skipping = {"DATASET.SKIP_BAD_IMAGES": True}
    for use in range(2):  # also where another run has skipped them and they are in the cache
        with pytest.raises(UserError, match="2 of the images cannot be read: .*05.png, .*07.png. .*SKIP_BAD_IMAGES"):
            make_store(tmp_path, image_dir).plain_views(items)
        assert ("unreadable: cannot read the image" in capsys.readouterr().out) == (use == 0)
        store = make_store(tmp_path, image_dir, **skipping)
        found = store.plain_views(items)
        assert found.labels.tolist() == [item.label for i, item in enumerate(items) if i not in (5, 7)]
        assert store.unreadable == {items[5].impath, items[7].impath} and store.backbone.seen == 0
    found = make_store(tmp_path, image_dir, **skipping).training_views(items)
    assert len(found) == 10 and found.views.unique().tolist() == [3]
