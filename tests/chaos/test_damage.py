"""Damaged files are read as they were or refused in a sentence; pickles that would execute something do not."""

import functools
import os
import pickle
import shutil

import pytest
import torch
from chaos.lab import ROOT, metrics

HEAD, BANK = "{run}/prompt_learner/model.pth.tar-3", "{run}.features/bank.safetensors"
SHIPPED_BANK = ROOT / "datasets/banks/eurosat_miniclip.safetensors"
# name: (kind of the run in {run}, the file, who reads it, flags, options). `again`: the run's own command; `continued`:
# the same, as if the run had been cut off before its end; `anew`: another run of the same kind, with these words.
READERS = {
    "checkpoint": ("CoOp", HEAD, "continued", "", ""),
    "checkpoint, evaluated": ("CoOp", HEAD, "anew", "--eval-only --model-dir {run}", ""),
    "checkpoint, started from": ("CoOp", HEAD, "anew", "", "MODEL.INIT_WEIGHTS {run}"),
    "pointer": ("CoOp", "{run}/prompt_learner/checkpoint", "continued", "", ""),
    "generator": ("CoOp_SHIP", "{run}/generator/generator.pth.tar", "continued", "", ""),
    "PVA": ("PVA", "{run}/pva/model.pth.tar-3", "continued", "", ""),
    "results.json": ("CoOp", "{run}/results.json", "again", "", ""),
    "results.json of a source": ("CoOp", "{run}/results.json", "anew", "", "MODEL.INIT_WEIGHTS {run}"),
    "cache of features": ("images", "{run}.features/*.safetensors", "anew", "", "FEATURES.DIR {run}.features"),
    "bank": ("CoOp", BANK, "anew", "", f"FEATURES.BANK {BANK}"),
}
UNPICKLED = ["checkpoint", "checkpoint, evaluated", "checkpoint, started from", "generator", "PVA"]


def read(lab, reader, spoil):
    """Has the file read, in a copy of a finished run, after `spoil(file)` -> (Done, the metrics that came of it)."""
    kind, place, who, flags, options = READERS[reader]
    (whole, _), run = lab.whole(kind), lab.new()
    shutil.copytree(whole, run)
    features = shutil.copytree(f"{whole}.features", f"{run}.features") if kind == "images" else f"{run}.features"
    os.makedirs(features, exist_ok=True)
    if reader == "bank":
        shutil.copy(SHIPPED_BANK, BANK.format(run=run))
    if who == "continued":
        (run / "results.json").unlink()
    spoil(next(lab.folder.glob(place.format(run=run.name))))
    out = lab.new() if who == "anew" else run
    done = lab.run(kind, out, flags.format(run=run).split(), options.format(run=run).split())
    return done, [metrics(path) for path in sorted(out.glob("results*.json"))] if done.code == 0 else []


@functools.cache
def read_undamaged(lab, reader):
    done, found = read(lab, reader, lambda file: None)
    assert done.code == 0 and found, done.text
    return found


@pytest.mark.parametrize("reader", READERS)
def test_a_damaged_file_is_refused_or_changes_nothing(lab, rng, reader):
    def spoil(file):
        file.write_bytes(damaged(file.read_bytes(), rng))

    expected = read_undamaged(lab, reader)
    done, found = read(lab, reader, spoil)
    assert not done.fault, done.fault
    assert done.code or found == expected


def damaged(good: bytes, rng) -> bytes:
    """A lost end, a block of zeros, a byte or a bit changed."""
    how, place, bad = rng.choice(("end", "zeros", "byte", "bit")), rng.randrange(len(good)), bytearray(good)
    if how == "end":
        return good[:place]
    if how == "zeros":
        bad[place : place + 64] = bytes(len(bad[place : place + 64]))
    else:
        bad[place] ^= rng.randrange(1, 256) if how == "byte" else 1 << rng.randrange(8)
    return bytes(bad)


class Attack:
    """A pickle of it makes the folder `canary` when it is read in the usual way."""

    def __init__(self, canary):
        self.canary = canary

    def __reduce__(self):
        return os.mkdir, (str(self.canary),)


@pytest.mark.parametrize("form", ["pickle", "archive"])
@pytest.mark.parametrize("reader", UNPICKLED)
def test_no_pickle_executes(lab, tmp_path, reader, form):
    canary = tmp_path / "executed"
    state = {"state_dict": Attack(canary), "epoch": 1}

    def spoil(file):
        if form == "archive":
            torch.save(state, file)
        else:
            file.write_bytes(pickle.dumps(state, protocol=2))

    done, _ = read(lab, reader, spoil)
    assert done.code and not canary.exists(), done.text
    torch.save(state, tmp_path / "attack")
    torch.load(tmp_path / "attack", weights_only=False)
    assert canary.exists()  # it would have worked
