"""The steps that are measured, each in both formulations."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from trainers.core.features.feature_set import FeatureSet
from trainers.core.features.loader import FeatureLoader
from trainers.ship.generator import PromptGenerator

from trainers.coop import CoOpHead
from trainers.core.model.prompts import ClassTokens
from trainers.generative.synthesis import CHUNK, Extended, Synthesizer
from trainers.generative.vae import VAE

from .plain import ROWS, PlainCoOpHead, PlainGenerator
from .towers import class_names

BATCH, HIDDEN = 32, 4096  # images of a step, as in CoOp's settings; hidden units of the generator's networks
SHOTS = 16


@dataclass(frozen=True)
class Pair:
    """Functions that do `steps` steps of ours, and one step of the plain formulation over `share` of the names."""

    ours: Callable
    steps: int
    plain: Callable
    share: float = 1.0
    images: bool = True  # whether the plain formulation also encodes a batch of images


def text_encoder(backbone, count: int, n_ctx: int) -> Pair:
    """Forward and backward of a context that all classes share."""

    def step(kind, size):
        head = kind(backbone, class_names(size), _context(backbone, n_ctx)).to(backbone.device)
        direction = torch.randn(size, backbone.embed_dim, device=backbone.device)  # any loss will do

        def run():
            head.ctx.grad = None
            (head.encode_names(head.tokens) * direction).sum().backward()

        return run

    size = min(count, ROWS)
    return Pair(step(CoOpHead, count), 1, step(PlainCoOpHead, size), size / count, images=False)


def generator(backbone, count: int, n_ctx: int) -> Pair:
    """SHIP's VAE: a step of its optimiser."""

    def step(kind):
        classes = ClassTokens(class_names(count), backbone, n_ctx)
        vae = VAE(_generator(kind, backbone, n_ctx), backbone.embed_dim, HIDDEN).to(backbone.device)
        optimizer = torch.optim.AdamW(vae.parameters(), lr=1e-3, fused=True)
        x, labels = _features(backbone, BATCH), torch.randint(count, (BATCH,))
        return lambda: vae.step(x, labels, classes, [optimizer])

    return Pair(step(PromptGenerator), 1, step(PlainGenerator))


def coop(backbone, count: int, n_ctx: int) -> Pair:
    """A step of CoOp over `count` names."""
    size = min(count, ROWS)
    ours, plain = _learner(CoOpHead, backbone, count, n_ctx), _learner(PlainCoOpHead, backbone, size, n_ctx)
    x, labels = _features(backbone, BATCH), torch.randint(size, (BATCH,), device=backbone.device)
    return Pair(lambda: ours(x, labels), 1, lambda: plain(x, labels), size / count)


def coop_ship(backbone, count: int, n_ctx: int) -> Pair:
    """Steps of CoOp + SHIP over `count` names, half of them label-only: one pass of the generator and its batches."""
    base, new = count // 2, ClassTokens(class_names(count)[count // 2 :], backbone, 4)
    made = [Synthesizer(_generator(kind, backbone, 4), new, base) for kind in (PromptGenerator, PlainGenerator)]
    size, steps = min(count, ROWS), CHUNK // BATCH
    ours, plain = _learner(CoOpHead, backbone, count, n_ctx), _learner(PlainCoOpHead, backbone, size, n_ctx)
    x, labels = _features(backbone, steps * BATCH), torch.randint(base, (steps * BATCH,), device=backbone.device)
    found = FeatureSet(x, torch.arange(len(x) + 1, device=backbone.device), labels)

    def windows(learner, synthesizer, loader, rows):
        for batch in Extended(loader, lambda length: [(synthesizer, length)], rows):
            rows_of = torch.cat([batch["features"], batch["made"]])
            learner(rows_of, torch.cat([batch["label"], batch["made_label"]]).clamp(max=learner.classes - 1))

    one = FeatureLoader(FeatureSet(x[:BATCH], found.offsets[: BATCH + 1], labels[:BATCH]), BATCH)
    return Pair(
        lambda: windows(ours, made[0], FeatureLoader(found, BATCH), CHUNK),
        steps,
        lambda: windows(plain, made[1], one, 1),
        size / count,
    )


STEPS = {"text_encoder": text_encoder, "generator": generator, "coop": coop, "coop_ship": coop_ship}


def _context(backbone, n_ctx):
    return 0.02 * torch.randn(n_ctx, backbone.width)


def _generator(kind, backbone, n_ctx):
    return kind(backbone, n_ctx, backbone.width, HIDDEN).to(backbone.device)


def _features(backbone, count):
    return F.normalize(torch.randn(count, backbone.embed_dim, device=backbone.device), dim=-1)


def _learner(kind, backbone, count, n_ctx):
    """f(features, labels): a step of SGD on the cross-entropy over `count` names."""
    head = kind(backbone, class_names(count), _context(backbone, n_ctx)).to(backbone.device)
    optimizer = torch.optim.SGD(head.parameters(), lr=0.002)

    def step(features, labels):
        optimizer.zero_grad()
        F.cross_entropy(head(features), labels).backward()
        optimizer.step()

    step.classes = count
    return step
