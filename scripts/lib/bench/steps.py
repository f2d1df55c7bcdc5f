"""The steps that are measured. Each function returns one to call, and how many steps a call of it does."""

from typing import NamedTuple

import torch
import torch.nn.functional as F

from trainers.coop import CoOpHead
from trainers.core.model.prompts import ClassTokens
from trainers.generative.generator import PromptGenerator
from trainers.generative.vae import VAE

from .plain import PlainCoOpHead, PlainGenerator

BATCH, HIDDEN = 32, 4096  # images of a step, as in CoOp's settings; hidden units of the generator's networks


class Formulation(NamedTuple):
    head: type
    generator: type
    at_once: int  # steps whose synthetic features are made in one pass of the generator


OURS = Formulation(CoOpHead, PromptGenerator, at_once=16)
PLAIN = Formulation(PlainCoOpHead, PlainGenerator, at_once=1)


def text_encoder(formulation, backbone, names, n_ctx):
    """Forward and backward of a context that all names share."""
    head = formulation.head(backbone, names, _context(backbone, n_ctx)).to(backbone.device)
    direction = torch.randn(len(names), backbone.embed_dim, device=backbone.device)  # any loss will do
    return lambda: (head.encode_names(head.tokens) * direction).sum().backward(), 1


def generator(formulation, backbone, names, n_ctx):
    """A step of SHIP's VAE."""
    classes = ClassTokens(names, backbone, n_ctx)
    prompts = formulation.generator(backbone, n_ctx, backbone.width, HIDDEN)
    vae = VAE(prompts, backbone.embed_dim, HIDDEN).to(backbone.device)
    optimizer = torch.optim.AdamW(vae.parameters(), lr=1e-3, fused=True)
    x, labels = _batch(backbone, len(names))
    return lambda: vae.step(x, labels.cpu(), classes, [optimizer]), 1


def coop(formulation, backbone, names, n_ctx):
    """A step of CoOp."""
    learn = _learner(formulation, backbone, names, n_ctx)
    x, labels = _batch(backbone, len(names))
    return lambda: learn(x, labels), 1


def coop_ship(formulation, backbone, names, n_ctx):
    """Steps of CoOp + SHIP, each on a batch of images and as many synthetic features of the second half of names."""
    learn = _learner(formulation, backbone, names, n_ctx)
    base = len(names) // 2
    classes = ClassTokens(names[base:], backbone, 4)
    make = formulation.generator(backbone, 4, backbone.width, HIDDEN).to(backbone.device)
    x, labels = _batch(backbone, base)
    new = torch.randint(len(classes), (formulation.at_once, BATCH))

    def steps():
        z = torch.randn(new.numel(), backbone.width, device=backbone.device)
        with torch.no_grad():
            synthetic = make(z, new.flatten(), classes)
        for features, targets in zip(synthetic.split(BATCH), new, strict=True):
            learn(torch.cat([x, features]), torch.cat([labels, base + targets.to(labels.device)]))

    return steps, formulation.at_once


STEPS = {"text_encoder": text_encoder, "generator": generator, "coop": coop, "coop_ship": coop_ship}


def _context(backbone, n_ctx):
    return 0.02 * torch.randn(n_ctx, backbone.width)


def _batch(backbone, classes):
    """Unit features [B, d] and labels [B]."""
    features = torch.randn(BATCH, backbone.embed_dim, device=backbone.device)
    return F.normalize(features, dim=-1), torch.randint(classes, (BATCH,), device=backbone.device)


def _learner(formulation, backbone, names, n_ctx):
    """f(features, labels): a step of SGD on the cross-entropy over the names."""
    head = formulation.head(backbone, names, _context(backbone, n_ctx)).to(backbone.device)
    optimizer = torch.optim.SGD(head.parameters(), lr=0.002)

    def learn(features, labels):
        optimizer.zero_grad()
        F.cross_entropy(head(features), labels).backward()
        optimizer.step()

    return learn
