"""CHUNK 0: all names at once where they fit, else as many as the free memory holds."""

import pytest
import torch
from tiny_clip import tiny_clip

from trainers.core.model import memory
from trainers.core.model.prompts import ClassTokens, assemble
from trainers.core.model.text_encoder import TextEncoder


@pytest.fixture(scope="module")
def tiny():
    return tiny_clip()


def test_little_is_taken_without_asking(tiny, monkeypatch):
    monkeypatch.setattr(memory, "free_memory", lambda device: pytest.fail("asked"))
    assert memory.fitting_chunk(tiny, [4] * 10, 5) == 0
    with torch.no_grad():  # nothing is kept for a backward pass
        assert memory.fitting_chunk(tiny, [4] * 10**6, 5) == 0


def test_many_rows_are_cut_to_what_is_free(tiny, monkeypatch):
    lengths, each = [4] * 10**4, memory.row_bytes(tiny, 4, 5)
    monkeypatch.setattr(memory, "ASK", 0)
    for free, chunk in ((10**12, 0), (each * 200 / memory.SHARE, 200), (1, 1)):
        monkeypatch.setattr(memory, "free_memory", lambda device, free=free: free)
        assert memory.fitting_chunk(tiny, lengths, 5) == pytest.approx(chunk, abs=1)


def test_this_machine_says_what_is_free():
    assert 2**20 < memory.free_memory(torch.device("cpu")) < 2**50


def test_the_encoder_does_so_by_itself(tiny, monkeypatch):
    """Same features and gradients, and the plan has several parts."""
    names, found = ["dog", "yellow-bellied sapsucker", "cup", "face_easy", "oak"], []
    for free in (10**12, 3 * memory.row_bytes(tiny, 8, 5) / memory.SHARE):
        monkeypatch.setattr(memory, "ASK", 0)
        monkeypatch.setattr(memory, "free_memory", lambda device, free=free: free)
        encoder, ctx = TextEncoder(tiny), torch.full((4, tiny.width), 0.01, requires_grad=True)
        features = encoder(*assemble(ClassTokens(names, tiny), ctx))
        (slope,) = torch.autograd.grad(features.square().sum(), ctx)
        (plan,) = encoder._plans.values()
        found.append((len(plan.parts), features, slope))
    (one, *whole), (several, *cut) = found
    assert one == 1 < several
    assert all(((a - b).norm() / b.norm()).item() < 1e-5 for a, b in zip(cut, whole, strict=True))
