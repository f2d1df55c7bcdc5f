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
def folder(tmp_path, monkeypatch):
    """The working folder, with 40 tiny images of two classes in images/."""
    for name in ("ant", "bee"):
        add_images(tmp_path / "images" / name, [f"{i:02d}.png" for i in range(20)])
    monkeypatch.chdir(tmp_path)
    return tmp_path


def extract(bank, dies_after=None, end=None, dataset="imagefolder"):
    """Makes a bank of the images in the working folder, in parts of three. -> its path. `end()` is called in place of
    encoding the part that would be behind the first `dies_after` images."""
    import extract_features

    encode, seen = ImageStore.encode, []

    def cut(store, files, *given):
        seen.extend(files)
        return encode(store, files, *given) if end is None or len(seen) <= dies_after else end()

    words = ["--root", "images", "--dataset", str(dataset), "--views", "2", "--workers", "0", "--out", str(bank)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(extract_features, "load_backbone", lambda cfg, device: tiny_clip())
        patch.setattr(extraction, "PART", 3)
        patch.setattr(ImageStore, "encode", cut)
        extract_features.main(words)
    return Path(bank)


@pytest.mark.parametrize("images", [0, 21])
def test_cut_off_and_continued_it_is_the_same_file(folder, images):
    whole = extract("whole")
    with pytest.raises(KeyboardInterrupt):
        extract("cut", images, lambda: signal.raise_signal(signal.SIGINT))
    assert not (folder / "cut").exists() and (folder / "cut.work").is_dir()
    assert extract("cut").read_bytes() == whole.read_bytes()
    assert sorted(path.name for path in folder.iterdir()) == ["cut", "images", "whole"]


def rank_of_two(rank, port, folder, dies):
    os.environ.update(RANK=str(rank), WORLD_SIZE="2", MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    os.chdir(folder)
    extract("shared", 5, (lambda: os.kill(os.getpid(), signal.SIGKILL)) if dies and rank == 1 else None)


def two_ranks(folder, dies):
    """Exit codes of two ranks, as torchrun starts them; rank 1 may die on the way."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # spawned: a fork of a process whose PyTorch has used its threads may hang
    spawn = multiprocessing.get_context("spawn")
    ranks = [spawn.Process(target=rank_of_two, args=(rank, port, folder, dies), daemon=True) for rank in range(2)]
    for rank in ranks:
        rank.start()
    for rank in ranks:
        rank.join(timeout=120)
    return [rank.exitcode for rank in ranks]


def test_two_ranks_one_of_them_killed_make_the_same_file(folder):
    whole = extract("whole")
    assert two_ranks(folder, dies=True) == [1, -signal.SIGKILL]
    assert not (folder / "shared").exists()
    assert two_ranks(folder, dies=False) == [0, 0]
    assert (folder / "shared").read_bytes() == whole.read_bytes()
    assert sorted(path.name for path in folder.iterdir()) == ["images", "shared", "whole"]


def test_images_that_cannot_be_read_leave_the_others_their_features(folder):
    whole = extract("whole")
    items = read_bank(whole)[1]["split"]["test"]
    (folder / "images" / items[3][0]).write_bytes(b"no image")
    with pytest.raises(UserError, match=f"1 of the images cannot be read: .*{items[3][0]}"):
        extract("bank")
    config = folder / "skipping.yaml"
    config.write_text("DATASET: {NAME: ImageFolder, SKIP_BAD_IMAGES: True}\n")
    stores = [BankStore(bank, tiny_clip()) for bank in (whole, extract("bank", dataset=config))]
    data = [Datum(impath=path, label=label) for path, label, _ in items]
    expected, found = (store.plain_views(data) for store in stores)
    readable = [i for i in range(len(items)) if i != 3]
    assert found.features.equal(expected.features[readable]) and found.labels.equal(expected.labels[readable])
    assert stores[1].unreadable == {items[3][0]} and not stores[0].unreadable
    with pytest.raises(UserError, match="--out images is a folder"):
        extract("images")
