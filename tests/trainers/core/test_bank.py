"""Banks: equal content is equal bytes, every kind of damage is found by both readers, and a disk that refuses."""

import json
import random

import pytest
import torch
from dassl.data.datasets import Datum
from dassl.utils import UserError
from helpers.banks import read_bank
from safetensors import SafetensorError
from safetensors.torch import save_file
from tiny_data import make_split

from datasets.core.splits import class_names, read_bank_split
from trainers.core import bank as banks
from trainers.core.bank import BankStore, write_bank
from trainers.core.files import verified_sha256

NAMES = ["ant", "bee"]


class Backbone:
    name, weights_hash = "stand-in", "0" * 64


def content():
    """Tensors and header of a small whole bank."""
    split = make_split(NAMES, train=2, val=1, test=1)
    tensors = {f"{part}.features": torch.randn(len(items), 3).half() for part, items in split.items()}
    header = {"dataset": "Caltech101", "backbone": "stand-in", "backbone_hash": "0" * 64, "split": split}
    return {**tensors, "train.offsets": torch.arange(5)}, header


def test_equal_content_is_equal_bytes_and_what_is_damaged_is_refused(tmp_path):
    tensors, header = content()
    tensors["empty"], tensors["odd"] = torch.empty(0, 3), torch.ones(3, dtype=torch.float64)
    paths = [tmp_path / "bank.safetensors", tmp_path / "b"]
    write_bank(paths[0], tensors, header)
    write_bank(paths[1], dict(reversed(tensors.items())), dict(reversed(header.items())))
    whole = paths[0].read_bytes()
    assert whole == paths[1].read_bytes() and sorted(tmp_path.iterdir()) == paths[::-1]
    found = read_bank(paths[0])[0]
    assert found.keys() == tensors.keys() and all(torch.equal(found[name], tensors[name]) for name in found)
    for damaged in (whole[:20], whole[:-1], b"", whole.replace(b"ship-bank-3", b"ship-bank-9")):
        paths[0].write_bytes(damaged)
        with pytest.raises(UserError, match="bank.safetensors is damaged"):
            read_bank(paths[0])
    with pytest.raises(UserError, match="does not exist"):
        read_bank(tmp_path / "none.safetensors")


def test_no_flipped_bit_gives_another_bank(tmp_path):
    """Each is refused by both readers, or (in the padding of a header) changes nothing."""
    path, rng, refused = tmp_path / "bank.safetensors", random.Random(0), 0
    write_bank(path, *content())
    whole, tensors, split = path.read_bytes(), read_bank(path)[0], read_bank_split(path, "Caltech101")
    length = int.from_bytes(whole[:8], "little")
    for place in [*range(8), *(rng.randrange(length + 8) for _ in range(400))]:
        damaged = bytearray(whole)
        damaged[place] ^= 1 << rng.randrange(8)
        path.write_bytes(damaged)
        try:
            assert read_bank_split(path, "Caltech101") == split
        except (UserError, SafetensorError):
            refused += 1
        try:
            found = read_bank(path)[0]
            assert found.keys() == tensors.keys() and all(torch.equal(found[name], tensors[name]) for name in found)
        except (UserError, SafetensorError):
            refused += 1
    assert refused > 700


def test_a_damaged_row_is_found_when_it_is_read(tmp_path):
    path, (tensors, header) = tmp_path / "bank.safetensors", content()
    write_bank(path, tensors, header)
    row = tensors["train.features"][2].numpy().tobytes()
    path.write_bytes(path.read_bytes().replace(row, row[:-1] + bytes([row[-1] ^ 1])))
    items = [Datum(impath=name, label=label, classname=kind) for name, label, kind in header["split"]["train"]]
    store = BankStore(path, Backbone())
    found = store.training_views([items[3], items[0]])
    assert torch.equal(found.features, tensors["train.features"][[3, 0]]) and found.labels.tolist() == [1, 0]
    with pytest.raises(UserError, match="bank.safetensors is damaged"):
        store.training_views(items[2:])


def test_an_old_bank_is_checked_by_the_file_beside_it(tmp_path):
    """Its header has no digest: it is as the shipped banks are."""
    path = tmp_path / "bank.safetensors"
    tensors, header = content()
    header |= {"split": json.dumps(header["split"]), "format": "ship-bank-1", "digest": banks._digest(tensors)}
    save_file(tensors, path, header)
    beside = tmp_path / "bank.safetensors.sha256"
    beside.write_text(f"{verified_sha256(path)}  bank.safetensors\n")
    items = [Datum(impath=name, label=label) for name, label, _ in make_split(NAMES, train=2)["train"]]
    assert torch.equal(BankStore(path, Backbone()).training_views(items).features, tensors["train.features"])
    assert class_names(read_bank_split(path, "Caltech101")[0]) == NAMES
    path.write_bytes(path.read_bytes().replace(b"ant", b"and"))
    for read in (lambda: BankStore(path, Backbone()), lambda: read_bank_split(path, "Caltech101")):
        with pytest.raises(UserError, match="bank.safetensors.* is damaged"):
            read()
    write_bank(path, *content())
    BankStore(path, Backbone())
    assert not beside.exists(), "a new bank took the place of the one that it was of"


def test_a_bank_whose_rows_do_not_fit_its_split_is_refused(tmp_path):
    """As one was whose extraction had skipped an unreadable test image: each later image had another one's features."""
    tensors, header = content()
    tensors["test.features"] = tensors["test.features"][:-1]
    write_bank(tmp_path / "bank", tensors, header)
    with pytest.raises(UserError, match="it has 1 test images, but its split names 2"):
        BankStore(tmp_path / "bank", Backbone())
