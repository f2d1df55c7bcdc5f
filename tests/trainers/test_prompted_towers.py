"""Methods that prompt inside the towers, against the figures of their authors' codes."""

import json

import pytest
import torch
from helpers import golden
from safetensors.torch import load_file

from trainers.core.model.prompts import fill, tokenize
from trainers.promptsrc import gaussian_weights, teachers

FP32 = 5e-5  # of a tensor's largest value: what the reference suggests
OPTIONS = {"TCP": {}, "MaPLe": {}, "PromptSRC": {}, "MMRL": {"REP_DIM": 24}}


def name_of_authors(method, name):
    """Our parameter's name -> the one in their state dict."""
    if method == "MMRL":
        return f"{'image_encoder' if name == 'proj_rep' else 'representation_learner'}.{name}"
    if method != "PromptSRC" or name == "ctx":
        return f"prompt_learner.{name}"
    tower, number = name.split(".")
    if name == "image.0":
        return "image_encoder.VPT"
    return f"{tower}_encoder.transformer.resblocks.{int(number) + (tower == 'text')}.VPT_shallow"


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


@pytest.mark.parametrize("method", OPTIONS)
def test_figures_of_the_authors_codes(shared, shared_clip, method):
    """From the same initial parameters: logits, gradients, three losses, and logits of trained and of new names."""
    backbone, images = shared_clip
    file = shared / "golden" / method.lower()
    theirs = load_file(file.with_suffix(".safetensors"))
    trainer = golden.trainer_of(method, backbone, OPTIONS[method])
    names = {name: name_of_authors(method, name) for name, _ in trainer.head.named_parameters()}
    assert {f"init.{name}" for name in names.values()} == {name for name in theirs if name.startswith("init.")}
    with torch.no_grad():
        for name, parameter in trainer.head.named_parameters():
            assert parameter.shape == theirs[f"init.{names[name]}"].shape
            parameter.copy_(theirs[f"init.{names[name]}"])
    found = golden.run(trainer, images)
    of_trained = "logits_fusion" if method == "MMRL" else "logits"
    same(found.before, theirs[f"step0.{of_trained}"])
    same(found.base, theirs[f"after3.{of_trained}.base"])
    same(found.new, theirs["after3.logits.new"])
    for name, of_theirs in names.items():
        same(found.gradients[name], theirs[f"grad0.{of_theirs}"])
        same(found.after[name], theirs[f"after3.{of_theirs}"])
    steps = json.loads(file.with_suffix(".json").read_text())["steps"]
    assert found.losses == pytest.approx([step["loss"] for step in steps], rel=FP32)


@pytest.mark.parametrize("method", OPTIONS)
def test_figures_of_our_own(own_clip, method):
    """The same run on another CLIP, whose figures are in this repository."""
    found = golden.own_run(method, OPTIONS[method], own_clip)
    expected = json.loads(golden.OWN.read_text())[method]
    assert found["losses"] == pytest.approx(expected["losses"], rel=1e-4)
    assert found["gradients"] == pytest.approx(expected["gradients"], rel=1e-3)
    for kind in ("before", "base", "new"):
        ours, theirs = torch.tensor(found[kind]), torch.tensor(expected[kind])
        assert (ours - theirs).abs().max() <= 1e-4 * theirs.abs().max()


def test_promptsrcs_average_of_epochs(shared, shared_clip):
    """Three epochs of one step: the average takes the place of the last parameters, and gives its own logits."""
    backbone, images = shared_clip
    theirs = load_file(shared / "golden" / "promptsrc.safetensors")
    trainer = golden.trainer_of("PromptSRC", backbone, {"GPA_MEAN": 2.0})
    names = {name: name_of_authors("PromptSRC", name) for name, _ in trainer.head.named_parameters()}
    for trainer.epoch in range(3):
        with torch.no_grad():
            for name, parameter in trainer.head.named_parameters():
                parameter.copy_(theirs[f"after{trainer.epoch + 1}.{names[name]}"])
        trainer.average_prompts()
    for name, parameter in trainer.head.named_parameters():
        same(parameter.detach(), theirs[f"gpa3.{names[name]}"])
    same(golden.logits(trainer, trainer.head, images), theirs["gpa3.logits.base"])
    same(golden.logits(trainer, trainer.head.for_classes(golden.NEW), images), theirs["gpa3.logits.new"])
    for case in json.loads((shared / "golden" / "promptsrc.json").read_text())["gpa_weights"]:
        weights = gaussian_weights(case["epochs"], case["mean"], case["std"])
        assert weights.tolist() == pytest.approx(case["weights"], rel=1e-9, abs=1e-60)


def test_promptsrcs_teachers_are_the_authors_prompts(shared):
    ids = load_file(shared / "golden" / "inputs.safetensors")["tokens.templates60.base"]
    for template, theirs in zip(teachers(), ids, strict=True):
        assert torch.equal(tokenize(fill(template, golden.BASE))[:, :24], theirs.long())


def test_mmrl_joins_trained_and_other_names(own_clip):
    """Among all names each trained one has its fusion, each other the class feature's logit."""
    backbone, images = own_clip
    trainer = golden.trainer_of("MMRL", backbone, OPTIONS["MMRL"])
    names = [golden.NEW[0], *golden.BASE[:2], golden.NEW[1]]
    base, new, together = (
        golden.logits(trainer, head, images)
        for head in (trainer.head, trainer.head.for_classes(golden.NEW), trainer.head.for_classes(names))
    )
    same(together, torch.stack([new[:, 0], base[:, 0], base[:, 1], new[:, 1]], 1))
    of_class = trainer.head.scores(trainer.encode_image(images))[0]
    assert not torch.allclose(of_class[:, 0], base[:, 0], atol=0.1)  # the two do differ
