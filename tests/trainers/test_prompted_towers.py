"""Methods that prompt inside the towers, against the figures of their authors' codes."""

import pytest
import torch
from helpers import golden
from safetensors.torch import load_file

from trainers.core.model.prompts import fill, tokenize
from trainers.promptsrc import teachers

FP32 = 5e-5  # of a tensor's largest value: the authors' own fp32 and fp64 runs differ by up to 8.4e-6
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
def tensors():
    return load_file(golden.FILE)


@pytest.fixture(scope="module")
def backbone(tensors):
    return golden.clip_of(tensors)


def same(ours, theirs):
    assert ours.shape == theirs.shape
    assert (ours - theirs).abs().max() <= FP32 * theirs.abs().max()


def set_parameters(method, trainer, values):
    for name, parameter in trainer.head.named_parameters():
        value = values[name_of_authors(method, name)]
        assert parameter.shape == value.shape
        parameter.detach().copy_(value)


@pytest.mark.parametrize("method", OPTIONS)
def test_figures_of_the_authors_codes(tensors, backbone, method):
    """From the same initial parameters: logits, gradients, three losses, and logits of trained and of new names."""
    theirs = golden.part(tensors, f"{method}.")
    trainer = golden.trainer_of(method, backbone, OPTIONS[method])
    start, gradients = golden.part(theirs, "init."), golden.part(theirs, "grad0.")
    names = {name_of_authors(method, name) for name, _ in trainer.head.named_parameters()}
    assert names == set(start) == set(gradients)
    set_parameters(method, trainer, start)
    found = golden.run(trainer, tensors["images"])
    of_trained = "logits_fusion" if method == "MMRL" else "logits"
    same(found.before, theirs[f"step0.{of_trained}"])
    same(found.base, theirs[f"after3.{of_trained}.base"])
    same(found.new, theirs["after3.logits.new"])
    for name, gradient in found.gradients.items():
        same(gradient, gradients[name_of_authors(method, name)])
    assert found.losses == pytest.approx(theirs["losses"].tolist(), rel=FP32)


def test_promptsrcs_average_of_epochs(tensors, backbone):
    """Three epochs of one step: the average takes the place of the last parameters, and gives its own logits."""
    theirs = golden.part(tensors, "PromptSRC.")
    trainer = golden.trainer_of("PromptSRC", backbone, {"GPA_MEAN": 2.0})
    for trainer.epoch in range(3):
        set_parameters("PromptSRC", trainer, golden.part(theirs, f"after{trainer.epoch + 1}."))
        trainer.average_prompts()
    for name, parameter in trainer.head.named_parameters():
        same(parameter.detach(), theirs[f"gpa3.{name_of_authors('PromptSRC', name)}"])
    same(golden.logits(trainer, trainer.head, tensors["images"]), theirs["gpa3.logits.base"])
    same(golden.logits(trainer, trainer.head.for_classes(golden.NEW), tensors["images"]), theirs["gpa3.logits.new"])


def test_promptsrcs_teachers_are_the_authors_prompts(tensors):
    for template, theirs in zip(teachers(), tensors["tokens.templates60.base"], strict=True):
        assert torch.equal(tokenize(fill(template, golden.BASE))[:, :24], theirs.long())


def test_mmrl_joins_trained_and_other_names(tensors, backbone):
    """Among all names each trained one has its fusion, each other the class feature's logit."""
    trainer, images = golden.trainer_of("MMRL", backbone, OPTIONS["MMRL"]), tensors["images"]
    names = [golden.NEW[0], *golden.BASE[:2], golden.NEW[1]]
    base, new, together = (
        golden.logits(trainer, head, images)
        for head in (trainer.head, trainer.head.for_classes(golden.NEW), trainer.head.for_classes(names))
    )
    same(together, torch.stack([new[:, 0], base[:, 0], base[:, 1], new[:, 1]], 1))
    of_class = trainer.head.scores(trainer.encode_image(images))[0]
    assert not torch.allclose(of_class[:, 0], base[:, 0], atol=0.1)  # the two do differ
