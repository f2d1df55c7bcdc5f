"""The generators G(z, c): SHIP's through prompts (paper section 3.2, Eq. 3 and 4), the one from scratch of its Table 4,
and two that need no pretraining, which the trained ones must clear. The latter are ours, not the paper's.

`shift`: the class's text moved over the modality gap, plus a real residual of a random base image,

    x~ = unit(unit(t0_c + mean_b m_b - mean_b t0_b) + x_i - m_{y_i})

with m_b the mean image of base class b, t0 the hand-written text features and x_i one view of a few-shot image.

`gaussian`: x~ = unit(mu_c + e), e ~ N(0, S), with S the shrunk within-class covariance of the base images and mu_c made
up of the images nearest to the text, and the text, as GaussianLDA does it (core/gaussian.py).

All are functions of a latent z ~ N(0, I). A target of transfer draws from the residuals, or the covariance, of its
source, since they are saved and loaded like the parameters of trained generators.
"""

from functools import lru_cache, partial

import torch
import torch.nn as nn
import torch.nn.functional as F

from ..core.gaussian import NEIGHBOURS, mean_near_text, means_of, shrunk_covariance
from ..core.model.prompts import PHOTO, assemble, encode_classes
from ..core.model.text_encoder import TextEncoder

LEAKY = partial(nn.LeakyReLU, 0.2)  # of critics, and of all networks of f-VAEGAN and its successor
INIT_STD = 0.02  # of linear layers and global prompts (released code; the paper says Gaussian noise)


def gaussian_init(module):
    """N(0, 0.02) weights and zero biases for every linear layer of `module` (released code)."""
    for layer in module.modules():
        if isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, std=INIT_STD)
            nn.init.zeros_(layer.bias)
    return module


def mlp(*widths, activation=nn.ReLU):
    """A linear layer from each width to the next, activations between them."""
    stack = [part for pair in zip(widths, widths[1:]) for part in (nn.Linear(*pair), activation())]
    return gaussian_init(nn.Sequential(*stack[:-1]))


def class_features(backbone, templates=(PHOTO,)):
    """What a class is to a network that reads no tokens: a function from ClassTokens to unit text features [C, d] under
    hand-written prompts (paper section 4.2.3), float32. It encodes each ClassTokens once."""
    return lru_cache(maxsize=4)(lambda classes: encode_classes(backbone, templates, classes.names))


class PromptGenerator(nn.Module):
    """z [B, k] and class names -> unit features [B, d] through the frozen text encoder.

    r = MLP(z); p(z) = [p_1 + r, ..., p_L + r] (Eq. 3); x~ = T({p(z), e_c}) (Eq. 4), the prompt being
    `p_1 .. p_L name.`. The options are those of the paper's Table 5: without `use_global` p(z) is the bias alone; with
    `sequential` every position has its own bias r_i.
    """

    def __init__(self, backbone, n_ctx, latent_dim, hidden_dim, use_global=True, sequential=False):
        super().__init__()
        self.backbone, self.n_ctx, self.latent_dim = [backbone], n_ctx, latent_dim
        self.bias = mlp(latent_dim, hidden_dim, backbone.width * (n_ctx if sequential else 1))
        self.prompts = nn.Parameter(torch.randn(n_ctx, backbone.width) * INIT_STD) if use_global else None
        self.encode = TextEncoder(backbone)

    def synthesize_prompts(self, z):
        """p(z) [B, L, w] (Eq. 3)."""
        bias = self.bias(z).view(len(z), -1, self.backbone[0].width)
        return bias.expand(-1, self.n_ctx, -1) if self.prompts is None else self.prompts + bias

    def forward(self, z, labels, classes):
        """Features of classes `labels` [B] among `classes` (a ClassTokens) for the latents `z` [B, k] -> [B, d], unit
        norm (Eq. 4)."""
        ctx = self.synthesize_prompts(z).to(self.backbone[0].dtype)
        prompts, eot, prefix = assemble(classes.select(labels), ctx)
        return F.normalize(self.encode(prompts, eot, prefix).float(), dim=-1)


class FeatureGenerator(nn.Module):
    """z [B, k] and class names -> unit features [B, d] by a three-layer network that starts from scratch (Table 4,
    "S").

    x~ = unit(MLP([z; t_c])), t_c being the class's text feature: all that this generator knows of CLIP.
    """

    def __init__(self, backbone, latent_dim, hidden_dim):
        super().__init__()
        self.latent_dim, self.class_features = latent_dim, class_features(backbone)
        self.layers = mlp(latent_dim + backbone.embed_dim, hidden_dim, hidden_dim, backbone.embed_dim)

    def forward(self, z, labels, classes):
        """Features of classes `labels` [B] among `classes` (a ClassTokens) for the latents `z` [B, k] -> [B, d], unit
        norm."""
        return F.normalize(self.layers(torch.cat([z, self.class_features(classes)[labels]], 1)), dim=-1)


class TrainingFreeGenerator(nn.Module):
    """z [B, k] and class names -> unit features [B, d].

    A subclass has `fitted(images, texts)`, its tensors from a FeatureSet and the text features [C, d] of its classes,
    and `centres(texts)`: where classes with the text features [C, d] lie [C, d].
    """

    def __init__(self, backbone, templates, tensors, share=1.0):
        """`share` of the images of a full run were there to fit it."""
        super().__init__()
        self.templates, self.neighbours = templates, round(NEIGHBOURS * share)
        for name, value in tensors.items():
            self.register_buffer(name, value)
        texts_of = class_features(backbone, templates)
        self.centres_of = lru_cache(maxsize=4)(lambda classes: self.centres(texts_of(classes)))


class ShiftGenerator(TrainingFreeGenerator):
    latent_dim = 1  # its place among all values says which residual

    @staticmethod
    def fitted(images, texts):
        means = means_of(images.mean(), images.labels, len(texts))
        residuals = images.features - means[images.labels.repeat_interleave(images.views)]
        return {"offset": means.mean(0) - texts.mean(0), "residuals": residuals}

    def centres(self, texts):
        return F.normalize(texts + self.offset, dim=-1)

    def forward(self, z, labels, classes):
        count = len(self.residuals)
        which = (torch.special.ndtr(z[:, 0].double()) * count).long().clamp(max=count - 1)
        return F.normalize(self.centres_of(classes)[labels] + self.residuals[which], dim=-1)


class GaussianGenerator(TrainingFreeGenerator):
    latent_dim = property(lambda self: len(self.factor))

    @staticmethod
    def fitted(images, texts):
        support = images.mean()
        residuals = support - means_of(support, images.labels, len(texts))[images.labels]
        return {"support": support, "factor": torch.linalg.cholesky(shrunk_covariance(residuals)).float()}

    def centres(self, texts):
        return mean_near_text(texts, self.support, self.neighbours)

    def forward(self, z, labels, classes):
        return F.normalize(self.centres_of(classes)[labels] + z @ self.factor.t(), dim=-1)


TRAINING_FREE = {"shift": ShiftGenerator, "gaussian": GaussianGenerator}
