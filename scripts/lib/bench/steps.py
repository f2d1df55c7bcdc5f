"""The steps that are measured. Each function returns one to call, and how many steps a call of it does."""

from copy import deepcopy
from typing import NamedTuple

import torch
import torch.nn.functional as F

from trainers.clip_adapter import CLIPAdapterHead, bottleneck
from trainers.cocoop import CoCoOpHead
from trainers.coop import CoOpHead
from trainers.core import extraction
from trainers.core.heads import ZeroshotHead
from trainers.core.model.prompts import ClassTokens
from trainers.core.model.text_encoder import TextEncoder
from trainers.generative.generator import PromptGenerator
from trainers.generative.vae import VAE
from trainers.proda import ProDAHead, upper_bound_logits
from trainers.tip_adapter import TipHead

from .plain import TEMPLATE, PlainEncoder, PlainTipHead, PlainZeroshot

BATCH, HIDDEN = 32, 4096  # images of a step, as in CoOp's settings; hidden units of the generator's networks
ADAPTED, SHOTS, TEST = 256, 16, 1000  # images of an adapter's step; keys of a class; images of an evaluation


class Formulation(NamedTuple):
    encoder: type
    zero_shot: type
    tip: type
    at_once: int  # steps whose synthetic features are made in one pass of the generator


OURS = Formulation(TextEncoder, lambda backbone, names: ZeroshotHead(backbone, [TEMPLATE], names), TipHead, at_once=16)
PLAIN = Formulation(PlainEncoder, PlainZeroshot, PlainTipHead, at_once=1)


def text_encoder(formulation, backbone, names, n_ctx):
    """Forward and backward of a context that all names share."""
    head = _prompts(formulation, backbone, CoOpHead, names, _context(backbone, n_ctx))
    direction = torch.randn(len(names), backbone.embed_dim, device=backbone.device)  # any loss will do
    return lambda: (head.encode_names(head.tokens) * direction).sum().backward(), 1


def image_tower(formulation, backbone, names, n_ctx):
    """Features of a batch of images: as many at a time and in the memory format of extraction, or all as they are."""
    images = torch.randn(BATCH, 3, *[backbone.input_size] * 2, device=backbone.device, dtype=backbone.dtype)
    parts = [images]
    if formulation is OURS:
        parts = images.to(memory_format=torch.channels_last).split(extraction.BATCH[backbone.device.type])
    else:
        backbone = deepcopy(backbone).to(memory_format=torch.contiguous_format)
    return torch.no_grad()(lambda: [backbone.encode_image(part) for part in parts]), 1


def generator(formulation, backbone, names, n_ctx):
    """A step of SHIP's VAE."""
    classes = ClassTokens(names, backbone, n_ctx)
    vae = VAE(_generator(formulation, backbone, n_ctx), backbone.embed_dim, HIDDEN).to(backbone.device)
    optimizer = torch.optim.AdamW(vae.parameters(), lr=1e-3, fused=True)
    x, labels = _batch(backbone, len(names))
    return lambda: vae.step(x, labels.cpu(), classes, [optimizer]), 1


def coop(formulation, backbone, names, n_ctx):
    """A step of CoOp."""
    head = _prompts(formulation, backbone, CoOpHead, names, _context(backbone, n_ctx))
    return _learner(head, *_batch(backbone, len(names))), 1


def coop_ship(formulation, backbone, names, n_ctx):
    """Steps of CoOp + SHIP, each on a batch of images and as many synthetic features of the second half of names."""
    learn = _learner(_prompts(formulation, backbone, CoOpHead, names, _context(backbone, n_ctx)))
    base = len(names) // 2
    classes = ClassTokens(names[base:], backbone, 4)
    make = _generator(formulation, backbone, 4).to(backbone.device)
    x, labels = _batch(backbone, base)
    new = torch.randint(len(classes), (formulation.at_once, BATCH))

    def steps():
        z = torch.randn(new.numel(), backbone.width, device=backbone.device)
        with torch.no_grad():
            synthetic = make(z, new.flatten(), classes)
        for features, targets in zip(synthetic.split(BATCH), new, strict=True):
            learn(torch.cat([x, features]), torch.cat([labels, base + targets.to(labels.device)]))

    return steps, formulation.at_once


def cocoop(formulation, backbone, names, n_ctx):
    """A step of CoCoOp: one image, with prompts of its own."""
    head = _prompts(formulation, backbone, CoCoOpHead, names, _context(backbone, n_ctx))
    return _learner(head, *_batch(backbone, len(names), 1)), 1


def proda(formulation, backbone, names, n_ctx):
    """A step of ProDA: 4 of 32 prompts, and the orthogonality of all."""
    head = _prompts(formulation, backbone, ProDAHead, names, torch.stack([_context(backbone, n_ctx)] * 32))
    head.chosen = range(7, 32, 8)  # names in front, in the middle, and twice at the end

    def loss(features, labels):
        logits = upper_bound_logits(features, labels, head.weights(head.tokens, head.chosen), head.logit_scale)
        return F.cross_entropy(logits, labels) + 0.1 * head.semantic_orthogonality()

    return _learner(head, *_batch(backbone, len(names)), loss), 1


def clip_adapter(formulation, backbone, names, n_ctx):
    """A step of CLIP-Adapter, which the plain formulation encodes all texts for."""
    head = CLIPAdapterHead(bottleneck(backbone.embed_dim, 4), 0.2, formulation.zero_shot(backbone, names))
    return _learner(head.to(backbone.device), *_batch(backbone, len(names))), 1


def tip_adapter(formulation, backbone, names, n_ctx):
    """A step of Tip-Adapter-F, both with the keys and the optimiser of their formulation."""
    labels = torch.arange(len(names), device=backbone.device).repeat_interleave(SHOTS)
    text, keys = (F.normalize(torch.randn(n, backbone.embed_dim), dim=-1) for n in (len(names), len(labels)))
    head = formulation.tip(backbone, names, text, keys, labels, 1.17, 1.0, learned=True).to(backbone.device)
    optimizer = torch.optim.AdamW(head.parameters(), lr=1e-3, eps=1e-4, fused=formulation is OURS)
    return _learner(head, *_batch(backbone, len(names), ADAPTED), optimizer=optimizer), 1


def evaluation(formulation, backbone, names, n_ctx):
    """CoOp's logits of test images in batches of 100, for which the plain formulation encodes the prompts each time."""
    head = _prompts(formulation, backbone, CoOpHead, names, _context(backbone, n_ctx))
    batches = _batch(backbone, len(names), TEST)[0].split(100)

    @torch.no_grad()
    def evaluate():
        head.eval()  # forgets what it kept
        for features in batches:
            head(features) if formulation is OURS else head.encode_names(head.tokens) @ features.t()

    return evaluate, 1


PEERS = [generator, coop, coop_ship, cocoop, proda, clip_adapter, tip_adapter, evaluation]
STEPS = {step.__name__: step for step in (text_encoder, image_tower, *PEERS)}
BY_NAMES = {
    name for name in STEPS if name not in ("image_tower", "generator", "tip_adapter")
}  # cost proportional to their number


def _context(backbone, n_ctx):
    return 0.02 * torch.randn(n_ctx, backbone.width)


def _prompts(formulation, backbone, kind, names, ctx):
    """A prompt head with the text encoder of a formulation."""
    head = kind(backbone, names, ctx).to(backbone.device)
    head._encoder = formulation.encoder(backbone)
    return head


def _generator(formulation, backbone, n_ctx):
    make = PromptGenerator(backbone, n_ctx, backbone.width, HIDDEN)
    make.encode = formulation.encoder(backbone)
    return make


def _batch(backbone, classes, size=BATCH):
    """Unit features [B, d] and labels [B]."""
    features = torch.randn(size, backbone.embed_dim, device=backbone.device)
    return F.normalize(features, dim=-1), torch.randint(classes, (size,), device=backbone.device)


def _learner(head, x=None, y=None, loss=None, optimizer=None):
    """f(features, labels): a step on the cross-entropy over the names, by default of SGD on the batch x, y."""
    optimizer = optimizer or torch.optim.SGD(head.parameters(), lr=0.002)
    loss = loss or (lambda features, labels: F.cross_entropy(head(features), labels))

    def learn(features=x, labels=y):
        optimizer.zero_grad()
        loss(features, labels).backward()
        optimizer.step()

    return learn
