"""Banks: equal content is equal bytes, every kind of damage is found by both readers, and a disk that refuses."""

import json
import random

import pytest
import torch
from dassl.data.datasets import Datum
from dassl.utils import UserError
from helpers.banks import read_bank
from safetensors.torch import save_file
from tiny_data import make_split

from datasets.core.splits import class_names, read_bank_split
from train import BANKS
from trainers.core import bank as banks
from trainers.core.bank import BankStore, write_bank
from trainers.core.bank_header import has_sha256
from trainers.core.files import verified_sha256

NAMES = ["ant", "bee"]


class Backbone:
    name, weights_hash = "stand-in", "0" * 64


def content(**changes):
    """Tensors and header of a small whole bank."""
    split = make_split(NAMES, train=2, val=1, test=1)
    tensors = {f"{part}.features": torch.randn(len(items), 3).half() for part, items in split.items()}
    header = {"dataset": "Caltech101", "backbone": "stand-in", "backbone_hash": "0" * 64, "split": json.dumps(split)}
    return {**tensors, "train.offsets": torch.arange(5)}, header | changes


def write_old(path, tensors, header):
    """As banks were before their header had a digest."""
    save_file(tensors, path, {**header, "format": "ship-bank-1", "digest": banks._digest(tensors)})


def test_round_trip_and_damage(tmp_path):
    path = tmp_path / "bank.safetensors"
    write_bank(path, {"features": torch.randn(5, 3).half()}, {"note": "x"})
    tensors, metadata = read_bank(path)
    assert tensors["features"].shape == (5, 3) and metadata["note"] == "x"
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    whole = path.read_bytes()
    for damaged in (whole[:20], whole[:-1], b"", whole.replace(b"ship-bank-3", b"ship-bank-9")):
        path.write_bytes(damaged)
        with pytest.raises(UserError, match="bank.safetensors"):
            read_bank(path)
    with pytest.raises(UserError, match="does not exist"):
        read_bank(tmp_path / "none.safetensors")


def test_equal_content_is_equal_bytes_and_what_safetensors_reads(tmp_path):
    tensors, header = content()
    tensors["empty"], tensors["odd"] = torch.empty(0, 3), torch.ones(3, dtype=torch.float64)
    write_bank(tmp_path / "a", tensors, header)
    write_bank(tmp_path / "b", dict(reversed(tensors.items())), dict(reversed(header.items())))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    found = read_bank(tmp_path / "a")[0]
    assert found.keys() == tensors.keys() and all(torch.equal(found[name], tensors[name]) for name in found)


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
        except UserError:
            refused += 1
        try:
            found = read_bank(path)[0]
            assert found.keys() == tensors.keys() and all(torch.equal(found[name], tensors[name]) for name in found)
        except UserError:
            refused += 1
    assert refused > 700


def test_a_damaged_row_is_found_when_it_is_read(tmp_path):
    path, (tensors, header) = tmp_path / "bank.safetensors", content()
    write_bank(path, tensors, header)
    row = tensors["train.features"][2].numpy().tobytes()
    path.write_bytes(path.read_bytes().replace(row, row[:-1] + bytes([row[-1] ^ 1])))
    items = [
        Datum(impath=name, label=label, classname=kind) for name, label, kind in json.loads(header["split"])["train"]
    ]
    store = BankStore(path, Backbone())
    found = store.training_views([items[3], items[0]])
    assert torch.equal(found.features, tensors["train.features"][[3, 0]]) and found.labels.tolist() == [1, 0]
    with pytest.raises(UserError, match="bank.safetensors is damaged"):
        store.training_views(items[2:])


def test_an_old_bank_is_used_with_a_word_or_checked_by_the_file_beside_it(tmp_path, capsys):
    path = tmp_path / "bank.safetensors"
    write_old(path, *content())
    BankStore(path, Backbone())
    beside = tmp_path / "bank.safetensors.sha256"
    assert f"sha256sum {path} > {beside}" in capsys.readouterr().out
    beside.write_text(f"{verified_sha256(path)}  bank.safetensors\n")
    BankStore(path, Backbone())
    assert not capsys.readouterr().out and class_names(read_bank_split(path, "Caltech101")[0]) == NAMES
    path.write_bytes(path.read_bytes().replace(b"ant", b"and"))
    for read in (lambda: BankStore(path, Backbone()), lambda: read_bank_split(path, "Caltech101")):
        with pytest.raises(UserError, match="bank.safetensors.* is damaged"):
            read()
    write_bank(path, *content())
    BankStore(path, Backbone())
    assert not beside.exists(), "a new bank took the place of the one that it was of"


def test_shipped_banks_have_a_file_beside_them():
    assert all(has_sha256(path) for path in BANKS.glob("*.safetensors"))


def test_a_bank_whose_rows_do_not_fit_its_split_is_refused(tmp_path):
    """As one was whose extraction had skipped an unreadable test image: each later image had another one's features."""
    tensors, header = content()
    tensors["test.features"] = tensors["test.features"][:-1]
    write_bank(tmp_path / "bank", tensors, header)
    with pytest.raises(UserError, match="1 rows of 1 test images, but its split names 2"):
        BankStore(tmp_path / "bank", Backbone())


@pytest.mark.parametrize("split", ["{", '{"train": 3}', '{"other": []}'])
def test_an_unusable_split_is_said(tmp_path, split):
    write_old(tmp_path / "bank", *content(split=split))
    with pytest.raises(UserError, match="bank"):
        BankStore(tmp_path / "bank", Backbone())
