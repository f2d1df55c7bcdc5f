"""The fast text encoder equals the backbone's own 77-token path (||a - b|| / ||b|| <= 1e-5 in fp32)."""

import pytest
import torch
from plain import plain_prompts, relative
from tiny_clip import clip_of_true_shape, tiny_clip
from torch.utils.flop_counter import FlopCounterMode

from trainers.core.model import text_encoder
from trainers.core.model.prompts import ClassTokens, assemble, tokenize
from trainers.core.model.text_encoder import TextEncoder
from trainers.core.model.towers import insert, overwrite

TOLERANCE = 1e-5
# Names whose tokens are easily miscounted: punctuation that merges with the final period, digits, underscores.
NAMES = ["dog", "face_easy", "jack-o'-lantern", "Boeing 737-800 (old)", "St. Bernard", "crane (bird)", "U.S. flag"]
NAMES += ["café", "2012 BMW M3 coupe", " padded ", "bishop of llandaff", "'s", "a" * 30]


@pytest.fixture(scope="module")
def tiny():
    return tiny_clip()


def check(backbone, n_ctx=4, position="end", specific=False, chunk=0, names=NAMES):
    """Features and context gradients of both formulations."""
    torch.manual_seed(0)
    shape = (len(names), n_ctx, backbone.width) if specific else (n_ctx, backbone.width)
    ctx, direction = (0.02 * torch.randn(shape)).requires_grad_(), torch.randn(len(names), backbone.embed_dim)
    plain = backbone.encode_prompts_plain(*plain_prompts(backbone, names, ctx, position))
    (plain_grad,) = torch.autograd.grad((plain * direction).sum(), ctx)
    rows, encoder = assemble(ClassTokens(names, backbone, n_ctx), ctx, position), TextEncoder(backbone, chunk)
    for _ in range(2):  # the second time the layout is there
        ours = encoder(*rows)
        (our_grad,) = torch.autograd.grad((ours * direction).sum(), ctx, retain_graph=True)
        assert relative(ours, plain) <= TOLERANCE and relative(our_grad, plain_grad) <= TOLERANCE


@pytest.mark.parametrize("chunk", [0, 3])
@pytest.mark.parametrize("specific", [False, True])
@pytest.mark.parametrize("position", ["end", "middle", "front"])
def test_equals_plain_path(miniclip_backbone, position, specific, chunk):
    check(miniclip_backbone, 4, position, specific, chunk)


def test_other_contexts_and_shapes(miniclip_backbone):
    for n_ctx, position in ((1, "end"), (1, "middle"), (5, "middle"), (5, "front"), (16, "end")):
        check(miniclip_backbone, n_ctx, position)
    check(miniclip_backbone, specific=True, names=["cup", "dog", "cup", "cup", "face_easy"])  # as SHIP's prompts are
    check(clip_of_true_shape(), names=NAMES[:5])  # that of ViT-B/16's text tower


@pytest.mark.parametrize("padding", [0, 3, 10**6])
def test_any_grouping_gives_the_same(monkeypatch, tiny, padding):
    monkeypatch.setitem(text_encoder.PADDING, "cpu", padding)
    check(tiny)
    check(tiny, position="middle", specific=True)


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
    alone = [encoder(*assemble(ClassTokens([name], miniclip_backbone), ctx)) for name in NAMES[::-1]]
    assert relative(torch.cat(alone).flip(0), together) <= TOLERANCE


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

    def flops(encode, prompts):
        with FlopCounterMode(display=False) as counter:
            encode(*prompts).sum().backward()
        return counter.get_total_flops()

    names, ctx = NAMES * 4, torch.zeros(4, miniclip_backbone.width, requires_grad=True)
    ours = flops(TextEncoder(miniclip_backbone), assemble(ClassTokens(names, miniclip_backbone), ctx))
    plain = flops(miniclip_backbone.encode_prompts_plain, plain_prompts(miniclip_backbone, names, ctx))
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


def test_chunk_0_goes_by_the_free_memory(tiny, monkeypatch):
    plans, plan = [], text_encoder.plan
    monkeypatch.setattr(text_encoder, "plan", lambda *given: plans.append(plan(*given)) or plans[-1])
    monkeypatch.setattr(text_encoder, "ASK", 0)
    for free in (10**12, 1):
        monkeypatch.setattr(text_encoder, "free_memory", lambda device, free=free: free)
        check(tiny)
    assert [len(plan.parts) for plan in plans] == [1, len(NAMES)]


# ---- learned tokens between the blocks

N_CTX, LAYERS = 3, 4
# Shared tokens in place of positions 1 .. n before some blocks; or they come in there, and are overwritten later.
SHARED = {"overwritten": {1: overwrite, 3: overwrite}, "inserted": {1: insert, 2: overwrite, 3: overwrite}}


def plain_hooked(backbone, prompts, eot, before, grown):
    """All 77 positions of prompts [N, L, w] through the tower's own blocks, read `grown` tokens behind EOT."""
    padded = torch.cat([prompts, torch.zeros(len(prompts), 77 - prompts.shape[1], 64)], 1)
    x = (padded + backbone.positional_embedding).transpose(0, 1)
    x = backbone.ln_final(backbone.transformer(x, before).transpose(0, 1))
    return x[torch.arange(len(x)), eot + grown] @ backbone.text_projection


def learned(*shape):
    draw = torch.Generator().manual_seed(len(shape))
    return (0.3 * torch.randn(*shape, generator=draw)).requires_grad_()


@pytest.mark.parametrize("chunk", [0, 2])
@pytest.mark.parametrize("kind", [*SHARED, 2, LAYERS - 1])
def test_learned_tokens_between_the_blocks(kind, chunk):
    """Shared ones, and tokens of each row's own before the block `kind`, against the tower's own blocks."""
    backbone = tiny_clip(layers=LAYERS)
    classes, ctx, grown = ClassTokens(NAMES, backbone, N_CTX), learned(N_CTX, 64), 0
    if kind in SHARED:
        tokens, context, grown = learned(LAYERS, N_CTX, 64), ctx, N_CTX if kind == "inserted" else 0
        slow = lambda at, x: SHARED[kind][at](x, tokens[at], 1) if at in SHARED[kind] else x  # noqa: E731
        hooks = {"before": slow}
    else:
        tokens, context = learned(len(NAMES), N_CTX, 64), ctx.expand(len(NAMES), -1, -1)
        slow = lambda at, x: overwrite(x, tokens, 1) if at == kind else x  # noqa: E731
        hooks = {"before_rows": lambda at, x, rows: overwrite(x, tokens[rows], 0) if at == kind else x}
    prompts, eot, prefix = assemble(classes, context)
    whole = torch.cat([prefix.expand(len(prompts), -1, -1), prompts], 1)
    ours = TextEncoder(backbone, chunk)(prompts, eot, prefix, **hooks)
    theirs = plain_hooked(backbone, whole, eot, slow, grown)
    assert relative(ours, theirs) <= TOLERANCE
    gradients = [torch.autograd.grad(each.square().sum(), [ctx, tokens], retain_graph=True) for each in (ours, theirs)]
    assert all(relative(one, other) <= TOLERANCE for one, other in zip(*gradients))
    assert relative(TextEncoder(backbone, chunk)(prompts, eot, prefix), ours) > 0.01  # the tokens do matter
