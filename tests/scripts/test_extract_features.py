"""Extraction to a bank: cut off and continued, shared by ranks, with images that cannot be read, on a tiny backbone."""

import multiprocessing
import os
import signal
import socket
from pathlib import Path

import pytest
from dassl.data.datasets import Datum
from helpers.banks import read_bank
from helpers.trees import add_images
from tiny_clip import tiny_clip

from trainers.core import extraction
from trainers.core.bank import BankStore
from trainers.core.extraction import ImageStore
from trainers.core.files import UserError


@pytest.fixture
def extract(tmp_path, monkeypatch):
    """extract(bank, *options) makes it, below the working folder, from 40 tiny images of two classes, in parts of
    three. -> its path"""
    import extract_features

    for name in ("ant", "bee"):
        add_images(tmp_path / "images" / name, [f"{i:02d}.png" for i in range(20)])
    backbone = tiny_clip()
    monkeypatch.setattr(extract_features, "load_backbone", lambda cfg, device: backbone)
    monkeypatch.setattr(extraction, "PART", 3)
    monkeypatch.chdir(tmp_path)

    def run(bank, *options, dataset="imagefolder"):
        given = ["--root", str(tmp_path / "images"), "--dataset", str(dataset), "--views", "2", "--workers", "0"]
        extract_features.main([*given, "--out", str(bank), *options])
        return Path(bank)

    return run


def interrupted_at(patch, images, end):
    """`end()` is called in place of encoding the part that would be behind the first `images`."""
    encode, seen = ImageStore.encode, []

    def cut(store, files, *given):
        seen.extend(files)
        return encode(store, files, *given) if len(seen) <= images else end()

    patch.setattr(ImageStore, "encode", cut)


@pytest.mark.parametrize("images", [0, 21])
def test_cut_off_and_continued_it_is_the_same_file(extract, tmp_path, monkeypatch, images):
    whole = extract("whole")
    with monkeypatch.context() as patch:
        interrupted_at(patch, images, lambda: signal.raise_signal(signal.SIGINT))
        with pytest.raises(KeyboardInterrupt):
            extract("cut")
    assert not (tmp_path / "cut").exists() and (tmp_path / "cut.work").is_dir()
    assert extract("cut").read_bytes() == whole.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cut", "images", "whole"]


def two_ranks(extract, bank, during=lambda rank: None):
    """Exit codes of two ranks, as torchrun starts them."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    def work(rank):
        os.environ.update(RANK=str(rank), WORLD_SIZE="2", MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
        during(rank)
        extract(bank)

    fork = multiprocessing.get_context("fork")
    ranks = [fork.Process(target=work, args=(rank,), daemon=True) for rank in range(2)]
    for rank in ranks:
        rank.start()
    for rank in ranks:
        rank.join(timeout=60)
    return [rank.exitcode for rank in ranks]


def test_two_ranks_one_of_them_killed_make_the_same_file(extract, tmp_path, monkeypatch):
    whole = extract("whole")

    def dies(rank):
        if rank == 1:
            interrupted_at(monkeypatch, 5, lambda: os.kill(os.getpid(), signal.SIGKILL))

    assert two_ranks(extract, "shared", dies) == [1, -signal.SIGKILL]
    assert not (tmp_path / "shared").exists()
    assert two_ranks(extract, "shared") == [0, 0]
    assert (tmp_path / "shared").read_bytes() == whole.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["images", "shared", "whole"]


def test_images_that_cannot_be_read_leave_the_others_their_features(extract, tmp_path):
    whole = extract("whole")
    items = read_bank(whole)[1]["split"]["test"]
    (tmp_path / "images" / items[3][0]).write_bytes(b"no image")
    with pytest.raises(UserError, match=f"1 of the images cannot be read: .*{items[3][0]}"):
        extract("bank")
    config = tmp_path / "skipping.yaml"
    config.write_text("DATASET: {NAME: ImageFolder, SKIP_BAD_IMAGES: True}\n")
    stores = [BankStore(bank, tiny_clip()) for bank in (whole, extract("bank", dataset=config))]
    data = [Datum(impath=path, label=label) for path, label, _ in items]
    expected, found = (store.plain_views(data) for store in stores)
    readable = [i for i in range(len(items)) if i != 3]
    assert found.features.equal(expected.features[readable]) and found.labels.equal(expected.labels[readable])
    assert stores[1].unreadable == {items[3][0]} and not stores[0].unreadable


def test_what_cannot_be_written_is_said_before_any_image_is_read(extract, tmp_path, monkeypatch):
    with pytest.raises(UserError, match="--out .*images is a folder"):
        extract("images")
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        extract("file/bank")
