"""Our towers against those of the package `clip`, on random weights."""

import sys

import clip.model
import pytest
import torch
from torch import nn

from trainers.core.model.backbone import Backbone
from trainers.core.model.prompts import tokenize
from trainers.core.model.towers import build_clip

TOKENS = tokenize(["a photo of a dog.", "cat", "a grand piano in a rather small room"])
# output width; image size, layers, width, patch; positions, vocabulary, text width, heads, layers
SHAPES = {
    "ViT": (32, 32, 3, 128, 8, 77, 49408, 128, 2, 2),
    "ResNet": (32, 64, (1, 2, 1, 1), 16, None, 77, 49408, 64, 1, 2),
}


def their_model(shape):
    """With values in every bias and buffer: a zero would hide one that is forgotten."""
    torch.manual_seed(0)
    model = clip.model.CLIP(*SHAPES[shape]).eval()
    for name, tensor in model.state_dict().items():
        if name.endswith(("bias", "running_mean")):
            nn.init.normal_(tensor, std=0.02)
        elif name.endswith(("bn3.weight", "running_var")):
            nn.init.uniform_(tensor, 0.5, 1.5)
    return model


def difference(ours, theirs):
    return ((ours.float() - theirs.float()).norm() / theirs.float().norm()).item()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@torch.no_grad()
def test_features_are_those_of_clip(shape, dtype):
    """In half precision both towers round at the same places: norms in float32, everything else in half. (But the
    ResNet's attention, which sums in another order.)"""
    theirs = their_model(shape)
    ours = Backbone(build_clip(theirs.state_dict()), shape, "", (), (), SHAPES[shape][1], dtype=dtype)
    images = torch.rand(2, 3, SHAPES[shape][1], SHAPES[shape][1])
    if dtype == torch.float16:
        for module in theirs.modules():
            if not isinstance(module, (clip.model.LayerNorm, nn.BatchNorm2d)):
                for parameter in module.parameters(recurse=False):
                    parameter.data = parameter.data.half()
    text, image = ours.encode_text_plain(TOKENS), ours.visual(images.to(dtype))
    assert text.dtype == image.dtype == dtype
    assert difference(text, theirs.encode_text(TOKENS)) <= 1e-6
    same_order = shape != "ResNet" or dtype == torch.float32
    assert difference(image, theirs.encode_image(images)) <= (1e-6 if same_order else 1e-3)


def test_a_checkouts_own_classes_are_not_used(monkeypatch):
    """Copies of `clip` in other checkouts have models with other arguments."""
    state = their_model("ViT").state_dict()
    monkeypatch.setitem(sys.modules, "clip.model", None)
    assert build_clip(state).visual.input_resolution == 32
