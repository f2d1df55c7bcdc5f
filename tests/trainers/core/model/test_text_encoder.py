"""The fast text encoder equals the backbone's own 77-token path (||a - b|| / ||b|| <= 1e-5 in fp32)."""

import pytest
import torch
from plain import plain_prompts, relative
from tiny_clip import clip_of_true_shape, tiny_clip
from torch.utils.flop_counter import FlopCounterMode

from trainers.core.model import text_encoder
from trainers.core.model.prompts import ClassTokens, assemble, tokenize
from trainers.core.model.text_encoder import TextEncoder

TOLERANCE = 1e-5
NAMES = ["dog", "yellow-bellied sapsucker", "cup", "face_easy", "Boeing 737-800 (old)"]


@pytest.fixture(scope="module")
def tiny():
    return tiny_clip()


def check(backbone, names, ctx, position, chunk=0):
    """Features and context gradients of both formulations."""
    torch.manual_seed(1)
    direction = torch.randn(len(names), backbone.embed_dim)
    ctx = ctx.requires_grad_()
    tokens = ClassTokens(names, backbone, ctx.shape[-2])
    ours = TextEncoder(backbone, chunk)(*assemble(tokens, ctx, position))
    (our_grad,) = torch.autograd.grad((ours * direction).sum(), ctx)
    plain = backbone.encode_prompts_plain(*plain_prompts(backbone, names, ctx, position))
    (plain_grad,) = torch.autograd.grad((plain * direction).sum(), ctx)
    assert relative(ours, plain) <= TOLERANCE
    assert relative(our_grad, plain_grad) <= TOLERANCE


@pytest.mark.parametrize("chunk", [0, 2])
@pytest.mark.parametrize("class_specific", [False, True])
@pytest.mark.parametrize("position", ["end", "middle", "front"])
def test_equals_plain_path(miniclip_backbone, position, class_specific, chunk):
    torch.manual_seed(0)
    shape = (len(NAMES), 4, miniclip_backbone.width) if class_specific else (4, miniclip_backbone.width)
    check(miniclip_backbone, NAMES, 0.02 * torch.randn(shape), position, chunk)


@pytest.mark.parametrize("n_ctx, position", [(1, "end"), (1, "middle"), (5, "middle"), (5, "front"), (16, "end")])
def test_context_lengths(miniclip_backbone, position, n_ctx):
    torch.manual_seed(0)
    check(miniclip_backbone, NAMES, 0.02 * torch.randn(n_ctx, miniclip_backbone.width), position)


def test_equals_plain_path_in_the_true_shape():
    """That of ViT-B/16's text tower."""
    backbone = clip_of_true_shape()
    check(backbone, NAMES, 0.02 * torch.randn(4, backbone.width), "end")


@pytest.mark.parametrize("padding", [0, 3, 10**6])
def test_any_grouping_gives_the_same(monkeypatch, tiny, padding):
    monkeypatch.setitem(text_encoder.PADDING, "cpu", padding)
    torch.manual_seed(0)
    check(tiny, NAMES, 0.02 * torch.randn(4, tiny.width), "end")
    check(tiny, NAMES, 0.02 * torch.randn(len(NAMES), 4, tiny.width), "middle")


@pytest.mark.parametrize("chunk", [0, 3])
def test_a_context_per_row_with_repeated_classes(miniclip_backbone, chunk):
    """SHIP's prompts: row i has class index[i] and a context of its own."""
    torch.manual_seed(0)
    index = torch.tensor([2, 0, 2, 1, 4, 4, 3])
    ctx = (0.02 * torch.randn(len(index), 4, miniclip_backbone.width)).requires_grad_()
    direction = torch.randn(len(index), miniclip_backbone.embed_dim)
    tokens = ClassTokens(NAMES, miniclip_backbone)
    ours = TextEncoder(miniclip_backbone, chunk)(*assemble(tokens, ctx, index=index))
    (our_grad,) = torch.autograd.grad((ours * direction).sum(), ctx)
    names = [NAMES[i] for i in index]
    plain = miniclip_backbone.encode_prompts_plain(*plain_prompts(miniclip_backbone, names, ctx))
    (plain_grad,) = torch.autograd.grad((plain * direction).sum(), ctx)
    assert relative(ours, plain) <= TOLERANCE and relative(our_grad, plain_grad) <= TOLERANCE


def test_gradients_reach_every_prompt_token_and_nothing_behind_eot(miniclip_backbone):
    torch.manual_seed(0)
    tokens = tokenize(["a dog", "a photo of a large dog."])
    prompts, eot = miniclip_backbone.token_embedding(tokens).requires_grad_(), tokens.argmax(-1)
    direction = torch.randn(2, miniclip_backbone.embed_dim)
    (ours,) = torch.autograd.grad((TextEncoder(miniclip_backbone)(prompts, eot) * direction).sum(), prompts)
    (plain,) = torch.autograd.grad((miniclip_backbone.encode_prompts_plain(prompts, eot) * direction).sum(), prompts)
    assert relative(ours, plain) <= TOLERANCE
    for row, end in zip(ours, eot, strict=True):
        assert (row[: end + 1].abs().sum(-1) > 0).all() and not row[end + 1 :].any()


def test_rows_do_not_depend_on_the_batch(miniclip_backbone):
    encoder, ctx = TextEncoder(miniclip_backbone), 0.02 * torch.randn(4, miniclip_backbone.width)
    together = encoder(*assemble(ClassTokens(NAMES, miniclip_backbone), ctx))
    for row, name in enumerate(NAMES):
        alone = encoder(*assemble(ClassTokens([name], miniclip_backbone), ctx))
        assert relative(alone[0], together[row]) <= TOLERANCE
    swapped = encoder(*assemble(ClassTokens(NAMES[::-1], miniclip_backbone), ctx))
    assert relative(swapped.flip(0), together) <= TOLERANCE


def test_autocast(tiny):
    """Mixed precision is no further from the float32 features than it is on the tower's own path."""
    ctx, tokens = 0.02 * torch.randn(4, tiny.width), ClassTokens(NAMES, tiny)
    reference = tiny.encode_prompts_plain(*plain_prompts(tiny, NAMES, ctx, "end"))
    with torch.autocast("cpu", torch.bfloat16):
        plain = tiny.encode_prompts_plain(*plain_prompts(tiny, NAMES, ctx, "end"))
        ours = TextEncoder(tiny)(*assemble(tokens, ctx))
    assert relative(ours.float(), reference) <= 1.5 * relative(plain.float(), reference) < 0.05


def test_takes_a_small_part_of_the_work(miniclip_backbone):
    """Counted in floating-point operations, forward and backward: at least 9 times fewer than 77 tokens need."""

    def flops(step):
        with FlopCounterMode(display=False) as counter:
            step()
        return counter.get_total_flops()

    names = NAMES * 4
    ctx, tokens = torch.zeros(4, miniclip_backbone.width, requires_grad=True), ClassTokens(names, miniclip_backbone)
    ours = flops(lambda: TextEncoder(miniclip_backbone)(*assemble(tokens, ctx)).sum().backward())
    prompts = plain_prompts(miniclip_backbone, names, ctx)
    plain = flops(lambda: miniclip_backbone.encode_prompts_plain(*prompts).sum().backward())
    assert ours * 9 < plain


def test_chunks_bound_what_is_kept_for_the_backward_pass(tiny):
    weights = {parameter.untyped_storage().data_ptr() for parameter in tiny.parameters()}

    def kept(rows, chunk):
        """Bytes that autograd keeps alive, the tower's weights aside."""
        storages, ctx = {}, torch.zeros(4, tiny.width, requires_grad=True)
        arguments = assemble(ClassTokens(["dog"] * rows, tiny), ctx)

        def pack(tensor):
            storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor  # alive, so that no address is used twice

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            features = TextEncoder(tiny, chunk)(*arguments)
        assert features.requires_grad
        return sum(size for address, size in storages.items() if address not in weights)

    assert kept(256, 16) - kept(64, 16) < (kept(256, 0) - kept(64, 0)) / 10


@pytest.mark.parametrize("chunk", [0, 2])
@pytest.mark.parametrize("position", ["end", "middle"])
def test_a_layout_is_planned_once_and_changes_no_bit(tiny, monkeypatch, position, chunk):
    """Features and gradients of a later call are those of an encoder that plans anew."""
    planned, plan = [], text_encoder.plan
    monkeypatch.setattr(text_encoder, "plan", lambda *given: (planned.append(1), plan(*given))[1])
    tokens, kept = ClassTokens(NAMES, tiny, 4), TextEncoder(tiny, chunk)
    for seed in range(3):
        torch.manual_seed(seed)
        ctx = (0.02 * torch.randn(4, tiny.width)).requires_grad_()
        results = []
        for encoder in (kept, TextEncoder(tiny, chunk)):
            features = encoder(*assemble(tokens, ctx, position))
            results.append((features, *torch.autograd.grad(features.square().sum(), ctx)))
        assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))
    assert len(planned) == 1 + 3


# ---- CHUNK 0: all names at once where they fit, else as many as the free memory holds


def test_the_encoder_does_so_by_itself(tiny, monkeypatch):
    """Same features and gradients, and the plan has several parts."""
    names, found, cuts, plan = ["dog", "yellow-bellied sapsucker", "cup", "face_easy", "oak"], [], [], text_encoder.plan
    monkeypatch.setattr(text_encoder, "plan", lambda *given: cuts.append(plan(*given)) or cuts[-1])
    for free in (10**12, 1):
        monkeypatch.setattr(text_encoder, "ASK", 0)
        monkeypatch.setattr(text_encoder, "free_memory", lambda device, free=free: free)
        encoder, ctx = TextEncoder(tiny), torch.full((4, tiny.width), 0.01, requires_grad=True)
        features = encoder(*assemble(ClassTokens(names, tiny), ctx))
        (slope,) = torch.autograd.grad(features.square().sum(), ctx)
        found.append((len(cuts[-1].parts), features, slope))
    (one, *whole), (several, *cut) = found
    assert one == 1 < several
    assert all(relative(a, b) < 1e-5 for a, b in zip(cut, whole, strict=True))
