"""CoOp's head against the plain 77-token formulation."""

import pytest
import torch
import torch.nn.functional as F
from runs import argv, results
from tiny_data import NAMES
from trainers.core.errors import ClassesUnsupported

import train
from trainers.coop import ClassSpecificHead, CoOpHead
from trainers.core.model.prompts import initial_context, tokenize


def plain_logits(backbone, names, ctx, position, features):
    """CoOp as its authors wrote it: tokenise "X X X X name.", put the context over the X, run all 77 positions, read at
    EOT."""
    n = ctx.shape[-2]
    placeholder = " ".join(["X"] * n)
    names = [name.replace("_", " ") for name in names]
    tokens = tokenize([f"{placeholder} {name}." for name in names])
    embedded = backbone.token_embedding(tokens)
    lengths = [int((tokenize([name])[0] != 0).sum()) - 2 for name in names]
    rows = []
    for i, length in enumerate(lengths):
        own = ctx[i] if ctx.dim() == 3 else ctx
        sos, name, rest = embedded[i, :1], embedded[i, 1 + n : 1 + n + length], embedded[i, 1 + n + length :]
        half = {"end": n, "middle": n // 2, "front": 0}[position]
        rows.append(torch.cat([sos, own[:half], name, own[half:], rest]))
    text = F.normalize(backbone.encode_prompts_plain(torch.stack(rows), tokens.argmax(-1)), dim=-1)
    return backbone.logit_scale.exp() * features @ text.t()


def relative(a, b):
    return ((a - b).norm() / b.norm()).item()


@pytest.mark.parametrize("position", ["end", "middle", "front"])
@pytest.mark.parametrize("specific", [False, True])
@pytest.mark.parametrize("chunk", [0, 3])
def test_logits_and_context_gradients_equal_the_plain_formulation(miniclip_backbone, position, specific, chunk):
    torch.manual_seed(0)
    ctx = initial_context(miniclip_backbone, "", 4, len(NAMES) if specific else None)
    features = F.normalize(torch.randn(5, miniclip_backbone.embed_dim), dim=-1)
    labels = torch.tensor([0, 3, 6, 1, 2])
    head = CoOpHead(miniclip_backbone, NAMES, ctx, position, chunk)
    logits = head(features)
    F.cross_entropy(logits, labels).backward()
    reference_ctx = ctx.clone().requires_grad_()
    reference = plain_logits(miniclip_backbone, NAMES, reference_ctx, position, features)
    F.cross_entropy(reference, labels).backward()
    assert relative(logits, reference) <= 1e-5
    assert relative(head.ctx.grad, reference_ctx.grad) <= 1e-5


def test_context_from_words_equals_the_prompt_in_words(miniclip_backbone):
    """Started at "a photo of a", CoOp is zero-shot CLIP with that prompt."""
    from trainers.core import ZeroshotHead

    features = F.normalize(torch.randn(5, miniclip_backbone.embed_dim), dim=-1)
    head = CoOpHead(miniclip_backbone, NAMES, initial_context(miniclip_backbone, "a_photo_of_a", 16)).eval()
    with torch.no_grad():
        assert head.ctx.shape[0] == 4
        assert relative(head(features), ZeroshotHead(miniclip_backbone, ["a photo of a {}."], NAMES)(features)) <= 1e-5


def test_for_classes_keeps_the_context(miniclip_backbone):
    features = F.normalize(torch.randn(5, miniclip_backbone.embed_dim), dim=-1)
    head = CoOpHead(miniclip_backbone, NAMES, torch.randn(4, miniclip_backbone.width) * 0.02).eval()
    with torch.no_grad():
        assert relative(head.for_classes([NAMES[4], NAMES[1]])(features), head(features)[:, [4, 1]]) <= 1e-5
        assert head.for_classes(["zebra"])(features).shape == (5, 1)


def test_class_specific_contexts_know_only_their_classes(miniclip_backbone):
    features = F.normalize(torch.randn(5, miniclip_backbone.embed_dim), dim=-1)
    head = ClassSpecificHead(
        miniclip_backbone, NAMES, torch.randn(len(NAMES), 4, miniclip_backbone.width) * 0.02
    ).eval()
    with torch.no_grad():
        assert relative(head.for_classes([NAMES[4], NAMES[1]])(features), head(features)[:, [4, 1]]) <= 1e-5
    with pytest.raises(ClassesUnsupported, match="zebra.*CSC False"):
        head.for_classes(["dog", "zebra"])


def test_evaluation_sees_the_trained_context(miniclip_backbone):
    """The text features that evaluation keeps between batches are dropped when training goes on."""
    features = F.normalize(torch.randn(2, miniclip_backbone.embed_dim), dim=-1)
    head = CoOpHead(miniclip_backbone, NAMES, torch.zeros(4, miniclip_backbone.width)).eval()
    with torch.no_grad():
        before = head(features)
        assert torch.equal(before, head(features))
        head.train()
        head.ctx.add_(0.02)
        head.eval()
        assert not torch.equal(before, head(features))


def test_equal_names_have_contexts_of_their_own(miniclip_backbone):
    """ImageNet has two missiles: class-specific contexts tell them apart by position."""
    names = ["dog", "missile", "cat", "missile"]
    features = F.normalize(torch.randn(5, miniclip_backbone.embed_dim), dim=-1)
    head = ClassSpecificHead(miniclip_backbone, names, torch.randn(4, 2, miniclip_backbone.width) * 0.02).eval()
    with torch.no_grad():
        part = head.for_classes(["missile", "dog", "missile"])
        assert relative(part(features), head(features)[:, [1, 0, 3]]) <= 1e-5
        assert relative(part.for_classes(["missile", "missile"])(features), head(features)[:, [1, 3]]) <= 1e-5


def test_words_to_start_from_are_shared_by_all_classes(tiny_bank, tmp_path):
    """As in CoOp's code, where CTX_INIT is set CSC says nothing: the context serves new classes too."""
    train.main(argv(tiny_bank, tmp_path, "CoOp", "TRAINER.COOP.CSC", "True", "OPTIM.MAX_EPOCH", "1"))
    assert "new" in results(tmp_path)["metrics"]
