"""Methods that prompt inside the towers, against the figures of their authors' codes.

These were run on a small random CLIP. fixtures/golden.safetensors holds its weights (int8 with scales), the images, and
of each method what goes in (init) and what comes out: losses, gradients of the first step, logits.
"""

from pathlib import Path

import pytest
import torch
from dassl.config import get_cfg_default
from safetensors.torch import load_file

import trainers
from trainers.core.model.backbone import Backbone
from trainers.core.model.prompts import fill, tokenize
from trainers.core.model.towers import build_clip
from trainers.core.registry import known_trainers
from trainers.promptsrc import teachers

BASE = "Annual Crop Land,Forest,Herbaceous Vegetation Land,Highway or Road,Industrial Buildings,Pasture Land".split(",")
NEW = ["Permanent Crop Land", "Residential Buildings", "River", "Sea or Lake"]
LABELS = torch.tensor([0, 1, 2, 3, 4, 5, 0, 3])
FP32 = 5e-5  # of a tensor's largest value: the authors' own fp32 and fp64 runs differ by up to 8.4e-6
OPTIONS = {"TCP": [], "MaPLe": [], "PromptSRC": ["GPA_MEAN", 2.0], "MMRL": ["REP_DIM", 24]}


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


def part(tensors, prefix):
    """The tensors whose name begins with a prefix, without it."""
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


@pytest.fixture(scope="module")
def tensors():
    return load_file(Path(__file__).parent / "fixtures/golden.safetensors")


@pytest.fixture(scope="module")
def backbone(tensors):
    packed = part(tensors, "clip.")
    rows, ids = packed.pop("token_embedding.rows"), packed.pop("token_embedding.ids").long()
    scale = packed.pop("token_embedding.rows.scale")
    state = {
        name: value.float() * packed.get(f"{name}.scale", 1.0)
        for name, value in packed.items()
        if not name.endswith(".scale") and name != "logit_scale"
    }
    state["token_embedding.weight"] = torch.zeros(49408, rows.shape[1])
    state["token_embedding.weight"][ids] = rows.float() * scale
    state["logit_scale"] = packed["logit_scale"].float()
    return Backbone(build_clip(state), "golden", "", (), (), tensors["images"].shape[-1])


def trainer_of(method, backbone):
    """A trainer with its head over the base names of EuroSAT, without data."""
    cfg = get_cfg_default()
    trainers.extend_cfg(cfg)
    cfg.DATASET.NAME, kind = "EuroSAT", known_trainers()[method]
    cfg.TRAINER[kind.SECTION].merge_from_list(OPTIONS[method])
    trainer = object.__new__(kind)
    plain = {"cfg": cfg, "backbone": backbone, "task": None, "device": torch.device("cpu"), "autocast": False}
    trainer.__dict__.update(plain, plugins=[], batch_idx=0, num_batches=1, epoch=0, max_epoch=3)
    trainer.head = trainer.build_head(BASE)
    return trainer


@torch.no_grad()
def logits(trainer, names, images):
    head = trainer.head if names == BASE else trainer.head.for_classes(names)
    return head.eval()(trainer.encode_image(images))


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
    theirs, images, trainer = part(tensors, f"{method}."), tensors["images"], trainer_of(method, backbone)
    start, gradients, parameters = part(theirs, "init."), part(theirs, "grad0."), dict(trainer.head.named_parameters())
    assert {name_of_authors(method, name) for name in parameters} == set(start) == set(gradients)
    set_parameters(method, trainer, start)
    of_trained, losses = "logits_fusion" if method == "MMRL" else "logits", []
    same(logits(trainer, BASE, images), theirs[f"step0.{of_trained}"])
    optimizer = torch.optim.SGD(parameters.values(), lr=0.0035, momentum=0.9, weight_decay=5e-4)
    trainer.head.train()
    trainer.batch = {"img": images, "label": LABELS}
    for step in range(3):
        loss, _ = trainer.compute_loss(*trainer.features_of(trainer.batch))
        optimizer.zero_grad()
        loss.backward()
        losses.append(loss.item())
        for name, value in parameters.items() if step == 0 else ():
            same(value.grad, gradients[name_of_authors(method, name)])
        optimizer.step()
    assert losses == pytest.approx(theirs["losses"].tolist(), rel=FP32)
    same(logits(trainer, BASE, images), theirs[f"after3.{of_trained}.base"])
    same(logits(trainer, NEW, images), theirs["after3.logits.new"])


def test_promptsrcs_average_of_epochs(tensors, backbone):
    """Three epochs of one step: the average takes the place of the last parameters, and gives its own logits."""
    theirs, trainer = part(tensors, "PromptSRC."), trainer_of("PromptSRC", backbone)
    for trainer.epoch in range(3):
        set_parameters("PromptSRC", trainer, part(theirs, f"after{trainer.epoch + 1}."))
        trainer.average_prompts()
    for name, parameter in trainer.head.named_parameters():
        same(parameter.detach(), theirs[f"gpa3.{name_of_authors('PromptSRC', name)}"])
    same(logits(trainer, BASE, tensors["images"]), theirs["gpa3.logits.base"])
    same(logits(trainer, NEW, tensors["images"]), theirs["gpa3.logits.new"])


def test_promptsrcs_teachers_are_the_authors_prompts(tensors):
    for template, theirs in zip(teachers(), tensors["tokens.templates60.base"], strict=True):
        assert torch.equal(tokenize(fill(template, BASE))[:, :24], theirs.long())


def test_mmrl_joins_trained_and_other_names(tensors, backbone):
    """Among all names each trained one has its fusion, each other the class feature's logit."""
    trainer, images = trainer_of("MMRL", backbone), tensors["images"]
    names = [NEW[0], *BASE[:2], NEW[1]]
    base, new, together = (logits(trainer, asked, images) for asked in (BASE, NEW, names))
    same(together, torch.stack([new[:, 0], base[:, 0], base[:, 1], new[:, 1]], 1))
    of_class = trainer.head.scores(trainer.encode_image(images))[0]
    assert not torch.allclose(of_class[:, 0], base[:, 0], atol=0.1)  # the two do differ
