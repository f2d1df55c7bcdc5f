"""The steps that are measured, in our formulation and in the plain one, which computes the same as published code does:
77 positions of every prompt, nothing shared, texts that are encoded in every step, a cache that answers by one-hot
labels."""

from copy import deepcopy

import torch
import torch.nn.functional as F
from dassl.config import get_cfg_default
from torch import nn

from trainers.clip_adapter import CLIPAdapterHead
from trainers.cocoop import CoCoOpHead
from trainers.coop import CoOpHead
from trainers.core import extraction
from trainers.core.heads import ZeroshotHead
from trainers.core.model.backbone import Backbone, load_backbone
from trainers.core.model.openai_clip import PIXEL_MEAN, PIXEL_STD
from trainers.core.model.prompts import ClassTokens, tokenize
from trainers.core.model.towers import CLIP, VisionTransformer
from trainers.generative.frameworks import VAE
from trainers.generative.generator import PromptGenerator
from trainers.proda import ProDAHead, upper_bound_logits
from trainers.tip_adapter import TipHead

BATCH, HIDDEN = 32, 4096  # images of a step, as in CoOp's settings; hidden units of the generator's networks
ADAPTED, SHOTS, TEST = 256, 16, 1000  # images of an adapter's step; keys of a class; images of an evaluation
AT_ONCE = 16  # steps whose synthetic features are made in one pass of the generator, in our formulation
TEMPLATE = "a photo of a {}."


def plain_encoder(backbone):
    """In the place of TextEncoder: prompts [N, L, w] behind a prefix [P, w], EOT's place [N] -> features [N, d]."""

    def encode(prompts, eot, prefix):
        rows, length = len(prompts), backbone.context_length
        padding = backbone.token_embedding.weight[:1].expand(rows, length, -1)
        whole = torch.cat([prefix.expand(rows, -1, -1), prompts, padding], 1)[:, :length]
        return backbone.encode_prompts_plain(whole, eot.to(prompts.device))

    return encode


def plain_zero_shot(backbone, names):
    """In the place of ZeroshotHead: unit features [B, d] -> logits [B, C]."""

    def classify(features):
        tokens = tokenize([TEMPLATE.format(name) for name in names]).to(features.device)
        text = F.normalize(backbone.encode_text_plain(tokens).float(), dim=-1)
        return backbone.logit_scale.exp() * features @ text.t()

    return classify


class PlainTipHead(TipHead):
    def cache(self, affinity, beta):
        return (-beta * (1 - affinity)).exp().t() @ F.one_hot(self.labels, len(self.classnames)).float()


class Work:
    """What is measured on one tower with some names and a context of `n_ctx` tokens: each step is a method that returns
    a function to call."""

    def __init__(self, backbone, names, n_ctx, is_plain=False):
        self.backbone, self.names, self.n_ctx, self.is_plain = backbone, names, n_ctx, is_plain

    # ---- what steps consist of

    def head(self, kind, contexts=1):
        """A prompt head with the text encoder of this formulation."""
        ctx = 0.02 * torch.randn(contexts, self.n_ctx, self.backbone.width)
        head = kind(self.backbone, self.names, ctx if contexts > 1 else ctx[0])
        return self.formulated(head, head._encoder)

    def prompt_generator(self, n_ctx):
        make = PromptGenerator(self.backbone, n_ctx, self.backbone.width, HIDDEN)
        return self.formulated(make, make.encode)

    def formulated(self, module, encoder):
        if self.is_plain:
            encoder.forward = plain_encoder(self.backbone)
        return module.to(self.backbone.device)

    def zero_shot(self):
        if self.is_plain:
            return plain_zero_shot(self.backbone, self.names)
        return ZeroshotHead(self.backbone, [TEMPLATE], self.names)

    def batch(self, size=BATCH, classes=None):
        """Unit features [B, d] and labels [B]."""
        features = torch.randn(size, self.backbone.embed_dim, device=self.backbone.device)
        labels = torch.randint(classes or len(self.names), (size,), device=self.backbone.device)
        return F.normalize(features, dim=-1), labels

    def learner(self, head, batch, loss=None, optimizer=None):
        """A step on the cross-entropy over the names of a batch (features, labels), by default of SGD."""
        optimizer = optimizer or torch.optim.SGD(head.parameters(), lr=0.002)
        loss = loss or (lambda features, labels: F.cross_entropy(head(features), labels))

        def learn(features=batch[0], labels=batch[1]):
            optimizer.zero_grad()
            loss(features, labels).backward()
            optimizer.step()

        return learn

    # ---- steps

    def text_encoder(self):
        """Forward and backward of a context that all names share."""
        head = self.head(CoOpHead)
        direction = torch.randn(len(self.names), self.backbone.embed_dim, device=self.backbone.device)  # any loss
        return lambda: (head.encode_names(head.tokens) * direction).sum().backward()

    def image_tower(self):
        """Features of a batch of images: as many at a time and in the memory format of extraction, or all as they
        are."""
        if self.is_plain:
            return self.images(torch.contiguous_format, BATCH)
        return self.images(torch.channels_last, extraction.BATCH[self.backbone.device.type])

    def images(self, memory_format=torch.channels_last, at_once=BATCH):
        backbone = deepcopy(self.backbone).to(memory_format=memory_format)
        images = torch.randn(BATCH, 3, *[backbone.input_size] * 2, device=backbone.device, dtype=backbone.dtype)
        parts = images.to(memory_format=memory_format).split(at_once)
        return torch.no_grad()(lambda: [backbone.encode_image(part) for part in parts])

    def generator(self):
        """A step of SHIP's VAE."""
        classes = ClassTokens(self.names, self.backbone, self.n_ctx)
        vae = VAE(self.prompt_generator(self.n_ctx), self.backbone.embed_dim, HIDDEN).to(self.backbone.device)
        optimizer = torch.optim.AdamW(vae.parameters(), lr=1e-3, fused=True)
        x, labels = self.batch()
        return lambda: vae.step(x, labels.cpu(), classes, [optimizer])

    def coop(self):
        """A step of CoOp."""
        return self.learner(self.head(CoOpHead), self.batch())

    def coop_ship(self):
        """AT_ONCE steps of CoOp + SHIP (plain: one), each on a batch of images and as many synthetic features of the
        second half of names."""
        base = len(self.names) // 2
        classes, make = ClassTokens(self.names[base:], self.backbone, 4), self.prompt_generator(4)
        x, labels = self.batch(classes=base)
        learn = self.learner(self.head(CoOpHead), (x, labels))
        new = torch.randint(len(classes), (1 if self.is_plain else AT_ONCE, BATCH))

        def steps():
            z = torch.randn(new.numel(), self.backbone.width, device=self.backbone.device)
            with torch.no_grad():
                synthetic = make(z, new.flatten(), classes)
            for features, targets in zip(synthetic.split(BATCH), new, strict=True):
                learn(torch.cat([x, features]), torch.cat([labels, base + targets.to(labels.device)]))

        return steps

    def cocoop(self):
        """A step of CoCoOp: one image, with prompts of its own."""
        return self.learner(self.head(CoCoOpHead), self.batch(1))

    def proda(self):
        """A step of ProDA: 4 of 32 prompts, and the orthogonality of all."""
        head = self.head(ProDAHead, 32)
        head.chosen = range(7, 32, 8)  # names in front, in the middle, and twice at the end

        def loss(features, labels):
            logits = upper_bound_logits(features, labels, head.weights(head.tokens, head.chosen), head.logit_scale)
            return F.cross_entropy(logits, labels) + 0.1 * head.semantic_orthogonality()

        return self.learner(head, self.batch(), loss)

    def clip_adapter(self):
        """A step of CLIP-Adapter, which the plain formulation encodes all texts for."""
        width, hidden = self.backbone.embed_dim, self.backbone.embed_dim // 4
        down, up = nn.Linear(width, hidden, bias=False), nn.Linear(hidden, width, bias=False)
        head = CLIPAdapterHead(nn.Sequential(down, nn.ReLU(), up, nn.ReLU()), 0.2, self.zero_shot())
        return self.learner(head.to(self.backbone.device), self.batch())

    def tip_adapter(self):
        """A step of Tip-Adapter-F, both with the keys and the optimiser of their formulation."""
        count, width = len(self.names), self.backbone.embed_dim
        labels = torch.arange(count, device=self.backbone.device).repeat_interleave(SHOTS)
        text, keys = (F.normalize(torch.randn(rows, width), dim=-1) for rows in (count, count * SHOTS))
        kind = PlainTipHead if self.is_plain else TipHead
        head = kind(self.backbone, self.names, text, keys, labels, 1.17, 1.0, learned=True).to(self.backbone.device)
        optimizer = torch.optim.AdamW(head.parameters(), lr=1e-3, eps=1e-4, fused=not self.is_plain)
        return self.learner(head, self.batch(ADAPTED), optimizer=optimizer)

    def evaluation(self):
        """CoOp's logits of test images in batches of 100, for each of which the plain formulation encodes the
        prompts."""
        head = self.head(CoOpHead)
        batches = self.batch(TEST)[0].split(100)

        @torch.no_grad()
        def evaluate():
            head.eval()  # forgets what it kept
            for features in batches:
                head.encode_names(head.tokens) @ features.t() if self.is_plain else head(features)

        return evaluate


IMAGES = ["generator", "coop", "coop_ship"]  # steps of which published code encodes images each time
PEERS = [*IMAGES, "cocoop", "proda", "clip_adapter", "tip_adapter", "evaluation"]
STEPS = ["text_encoder", "image_tower", *PEERS]
SAME = ["image_tower", "generator", "tip_adapter"]  # the plain cost of all others is proportional to names


def mini_clip():
    cfg = get_cfg_default()
    cfg.MODEL.BACKBONE.NAME = "MiniCLIP"
    return load_backbone(cfg)


def vit_b16():
    """150 million random weights in the shape of CLIP ViT-B/16: 12 layers of width 512 for text, of 768 for images."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        visual = VisionTransformer(224, patch_size=16, width=768, layers=12, heads=12, output_dim=512)
        clip = CLIP(visual, embed_dim=512, context_length=77, vocab_size=49408, width=512, layers=12)
        for parameter in clip.parameters():
            nn.init.normal_(parameter, std=0.02)
    return Backbone(clip, "random", "", PIXEL_MEAN, PIXEL_STD, 224)


TOWERS = {"MiniCLIP": mini_clip, "ViT-B/16": vit_b16}
