"""Methods that prompt inside the towers, against the figures of their authors' codes."""

import json

import pytest
import torch
from helpers import golden
from safetensors.torch import load_file

FP32 = 5e-5  # of a tensor's largest value: what the reference suggests
# {method: (options, our parameters' names in the authors' state dict)}
METHODS = {
    "TCP": ({}, {"": "prompt_learner."}),
}


@pytest.fixture(scope="module")
def shared_clip(shared):
    return golden.shared_clip(shared / "golden")


@pytest.fixture(scope="module")
def own_clip():
    return golden.own_clip()


def same(ours, theirs):
    theirs = torch.as_tensor(theirs)
    assert ours.shape == theirs.shape
    assert (ours - theirs).abs().max() <= FP32 * theirs.abs().max()


def their_name(name, prefixes):
    """The longest of our prefixes replaced by theirs."""
    ours = max((prefix for prefix in prefixes if name.startswith(prefix)), key=len)
    return prefixes[ours] + name.removeprefix(ours)


@pytest.mark.parametrize("method", METHODS)
def test_figures_of_the_authors_codes(shared, shared_clip, method):
    """From the same initial parameters: logits, gradients, three losses, and logits of trained and of new names."""
    backbone, images = shared_clip
    options, prefixes = METHODS[method]
    file = shared / "golden" / method.lower()
    theirs = load_file(file.with_suffix(".safetensors"))
    trainer = golden.trainer_of(method, backbone, options)
    names = {name: their_name(name, prefixes) for name, _ in trainer.head.named_parameters()}
    assert {f"init.{name}" for name in names.values()} == {name for name in theirs if name.startswith("init.")}
    with torch.no_grad():
        for name, parameter in trainer.head.named_parameters():
            assert parameter.shape == theirs[f"init.{names[name]}"].shape
            parameter.copy_(theirs[f"init.{names[name]}"])
    found = golden.run(trainer, images)
    kinds = {"base": "logits_fusion.base", "before": "logits_fusion"} if method == "MMRL" else {}
    same(found.before, theirs[f"step0.{kinds.get('before', 'logits')}"])
    same(found.base, theirs[f"after3.{kinds.get('base', 'logits.base')}"])
    same(found.new, theirs["after3.logits.new"])
    for name, of_theirs in names.items():
        same(found.gradients[name], theirs[f"grad0.{of_theirs}"])
        same(found.after[name], theirs[f"after3.{of_theirs}"])
    steps = json.loads(file.with_suffix(".json").read_text())["steps"]
    assert found.losses == pytest.approx([step["loss"] for step in steps], rel=FP32)


@pytest.mark.parametrize("method", METHODS)
def test_figures_of_our_own(own_clip, method):
    """The same run on another CLIP, whose figures are in this repository."""
    found = golden.own_run(method, METHODS[method][0], own_clip)
    expected = json.loads(golden.OWN.read_text())[method]
    assert found["losses"] == pytest.approx(expected["losses"], rel=1e-4)
    assert found["gradients"] == pytest.approx(expected["gradients"], rel=1e-3)
    for kind in ("before", "base", "new"):
        ours, theirs = torch.tensor(found[kind]), torch.tensor(expected[kind])
        assert (ours - theirs).abs().max() <= 1e-4 * theirs.abs().max()
