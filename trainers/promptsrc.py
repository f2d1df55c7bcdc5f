"""PromptSRC: Self-regulating Prompts, Foundational Model Adaptation without Forgetting (Khattak et al., ICCV 2023,
https://arxiv.org/abs/2307.06948).

Prompts at the input and before the next blocks of both towers, independent of each other, held by three regularisers:
to the frozen CLIP (section 3.2; f, g the features under prompts, V those of the frozen tower, T the frozen ones of
many templates, all unit norm), over the training's course (3.3), and by the templates themselves (3.4):

    L = L_ce + TEXT_LOSS_WEIGHT mean|g - T| + IMAGE_LOSS_WEIGHT mean|f - V| + KL(softmax(s V T) || softmax(s f g))

From the authors' code: the means are over all numbers, the KL term's over images and classes; T is the unit mean of
features that are not normalised, of 60 of CLIP's templates for ImageNet; the final prompts are the average of those
at the ends of the epochs a, with weights of N(a; GPA_MEAN, GPA_STD^2) that sum to 1. (They average the frozen weights
too, which moves them by rounding.)

Training and evaluation need images. Synthetic rows of a plug-in have no image: they train the text side alone, and each
is its own V in the KL term.
"""

from functools import cached_property

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from .core import FeatureTrainer, Range
from .core.deep_prompts import DeepPromptHead, require_blocks, split_context
from .core.model.prompts import fill, raw_text_features
from .core.model.text_encoder import in_fp32
from .plugins import register_twins

# * is the class name
TEACHERS = """a photo of a *|a bad photo of a *|a photo of many *|a sculpture of a *|a photo of the hard to see *
a low resolution photo of the *|a rendering of a *|graffiti of a *|a bad photo of the *|a cropped photo of the *
a tattoo of a *|the embroidered *|a photo of a hard to see *|a bright photo of a *|a photo of a clean *
a photo of a dirty *|a dark photo of the *|a drawing of a *|a photo of my *|the plastic *|a photo of the cool *
a close-up photo of a *|a black and white photo of the *|a painting of the *|a painting of a *
a pixelated photo of the *|a sculpture of the *|a bright photo of the *|a cropped photo of a *|a plastic *
a photo of the dirty *|a jpeg corrupted photo of a *|a blurry photo of the *|a photo of the *|a good photo of the *
a rendering of the *|a * in a video game|a photo of one *|a doodle of a *|a close-up photo of the *|the origami *
the * in a video game|a sketch of a *|a doodle of the *|a origami *|a low resolution photo of a *|the toy *
a rendition of the *|a photo of the clean *|a photo of a large *|a rendition of a *|a photo of a nice *
a photo of a weird *|a blurry photo of a *|a cartoon *|art of a *|a sketch of the *|a embroidered *
a pixelated photo of a *|itap of the *"""


def teachers() -> list[str]:
    """The templates, with {} for the class name."""
    return [text.replace("*", "{}") + "." for text in TEACHERS.replace("\n", "|").split("|")]


class PromptSRCHead(DeepPromptHead):
    def __init__(self, backbone, classnames, ctx, words, options):
        super().__init__(backbone, classnames, ctx, words, options.CHUNK)
        image = options.N_CTX_VISION, backbone.visual.width
        self.text = nn.ParameterList([0.02 * torch.randn(ctx.shape) for _ in range(options.PROMPT_DEPTH_TEXT - 1)])
        self.image = nn.ParameterList([0.02 * torch.randn(image) for _ in range(options.PROMPT_DEPTH_VISION)])
        # of the parameters at the ends of the epochs so far, weights included
        self.register_buffer("average", torch.zeros(sum(p.numel() for p in self.parameters())))

    def text_prompts(self):
        return list(self.text)

    def image_prompts(self):
        return list(self.image)


@register_twins
class PromptSRC(FeatureTrainer):
    SECTION = "PROMPTSRC"
    OPTIONS = {
        "N_CTX_TEXT": 4,
        "N_CTX_VISION": 4,
        "CTX_INIT": "a photo of a",
        "PROMPT_DEPTH_TEXT": 9,  # how many blocks have prompts, the first included
        "PROMPT_DEPTH_VISION": 9,
        "TEXT_LOSS_WEIGHT": 25.0,
        "IMAGE_LOSS_WEIGHT": 10.0,
        "GPA_MEAN": 15.0,  # in epochs
        "GPA_STD": 1.0,
        "CHUNK": 0,  # class names per text-encoder pass with recomputation; 0: by free memory
    }
    LIMITS = {"N_CTX_VISION": Range(1), "GPA_STD": Range(0, above=True)}
    LEARNS_PROMPTS, TUNES_IMAGES = True, True

    def build_head(self, classnames):
        options = self.options
        for key in ("PROMPT_DEPTH_TEXT", "PROMPT_DEPTH_VISION"):
            require_blocks(self.backbone, options[key], f"TRAINER.PROMPTSRC.{key}")
        ctx, words = split_context(self.backbone, options.CTX_INIT, options.N_CTX_TEXT)
        return PromptSRCHead(self.backbone, classnames, ctx, words, options)

    @cached_property
    def teacher(self):
        """T [C, d] of the names that are trained."""
        tower, names = in_fp32(self.backbone), self.head.classnames
        with torch.autocast(self.device.type, enabled=False):
            total = sum(raw_text_features(tower, fill(template, names)) for template in teachers())
        return F.normalize(total, dim=-1)

    def compute_loss(self, features, labels):
        head, options, logits = self.head, self.options, self.head(features).float()
        frozen = self.frozen_features()  # V [B, d]; the rows behind them are synthetic
        to_text = (head.text_features() - self.teacher).abs().mean()
        to_image = (features[: len(frozen)] - frozen).abs().sum() / max(frozen.numel(), 1)
        targets = head.logit_scale * torch.cat([frozen, features[len(frozen) :]]) @ self.teacher.t()
        divergence = F.kl_div(logits.log_softmax(1), targets.log_softmax(1), reduction="sum", log_target=True)
        loss = F.cross_entropy(logits, labels) + divergence / logits.numel()
        return loss + options.TEXT_LOSS_WEIGHT * to_text + options.IMAGE_LOSS_WEIGHT * to_image, logits

    def update(self, loss):
        super().update(loss)
        if self.batch_idx + 1 == self.num_batches:
            self.average_prompts()

    @torch.no_grad()
    def average_prompts(self):
        """At the end of an epoch: the prompts enter the average, which takes their place after the last one."""
        average, parameters = self.head.average, list(self.head.parameters())
        epochs = torch.arange(1, self.max_epoch + 1).double()
        weights = (-((epochs - self.options.GPA_MEAN) ** 2) / (2 * self.options.GPA_STD**2)).softmax(0)
        if self.epoch == 0:  # that of a run that this one starts from
            average.zero_()
        average += weights[self.epoch].item() * parameters_to_vector(parameters)
        if self.epoch + 1 == self.max_epoch:
            vector_to_parameters(average.clone(), parameters)
