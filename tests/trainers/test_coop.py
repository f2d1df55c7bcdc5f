"""CoOp's head against the plain 77-token formulation."""

import pytest
import torch
import torch.nn.functional as F
from plain import hand_written, plain_text_features, relative, unit
from tiny_data import NAMES

from trainers.coop import ClassSpecificHead, CoOpHead
from trainers.core.files import ClassesUnsupported
from trainers.core.model.prompts import initial_context


@pytest.mark.parametrize("position", ["end", "middle", "front"])
@pytest.mark.parametrize("specific, chunk", [(False, 0), (False, 3), (True, 3)])
def test_logits_and_context_gradients_equal_the_plain_formulation(miniclip_backbone, position, specific, chunk):
    torch.manual_seed(0)
    ctx = initial_context(miniclip_backbone, "", 4, len(NAMES) if specific else None)
    features, labels = unit(5, miniclip_backbone.embed_dim), torch.tensor([0, 3, 6, 1, 2])
    head = (ClassSpecificHead if specific else CoOpHead)(miniclip_backbone, NAMES, ctx, position, chunk)
    logits = head(features)
    F.cross_entropy(logits, labels).backward()
    plain_ctx = ctx.clone().requires_grad_()
    text = plain_text_features(miniclip_backbone, NAMES, plain_ctx, position)
    plain = miniclip_backbone.logit_scale.exp() * features @ text.t()
    F.cross_entropy(plain, labels).backward()
    assert relative(logits, plain) <= 1e-5 and relative(head.ctx.grad, plain_ctx.grad) <= 1e-5
    assert relative(head.for_classes([NAMES[4], NAMES[1]])(features), plain[:, [4, 1]]) <= 1e-5


@torch.no_grad()
def test_context_from_words_equals_the_prompt_in_words_until_it_is_trained(miniclip_backbone):
    """Started at "a photo of a", CoOp is zero-shot CLIP. What evaluation keeps of texts is dropped by training."""
    features = unit(5, miniclip_backbone.embed_dim)
    head = CoOpHead(miniclip_backbone, NAMES, initial_context(miniclip_backbone, "a_photo_of_a", 16)).eval()
    zero_shot = miniclip_backbone.logit_scale.exp() * features @ hand_written(miniclip_backbone, NAMES).t()
    before = head(features)
    assert head.ctx.shape[0] == 4 and relative(before, zero_shot) <= 1e-5 and torch.equal(before, head(features))
    head.train()
    head.ctx.add_(0.02)
    assert not torch.equal(before, head.eval()(features))


@torch.no_grad()
def test_class_specific_contexts_know_only_their_classes_and_equal_names_by_position(miniclip_backbone):
    """ImageNet has two missiles: class-specific contexts tell them apart by position."""
    names, features = ["dog", "missile", "cat", "missile"], unit(5, miniclip_backbone.embed_dim)
    head = ClassSpecificHead(miniclip_backbone, names, torch.randn(4, 2, miniclip_backbone.width) * 0.02).eval()
    part = head.for_classes(["missile", "dog", "missile"])
    assert relative(part(features), head(features)[:, [1, 0, 3]]) <= 1e-5
    assert relative(part.for_classes(["missile", "missile"])(features), head(features)[:, [1, 3]]) <= 1e-5
    with pytest.raises(ClassesUnsupported, match="zebra.*CSC False"):
        head.for_classes(["dog", "zebra"])
