"""CoOp + VPT: Variational Prompt Tuning Improves Generalization of Vision-Language Models (Derakhshani et al.,
https://arxiv.org/abs/2210.02390; ICCV 2023 as Bayesian Prompt Learning for Image-Language Model Generalization).

From the paper: prompts p_l + r with one residual r for all positions, r ~ q(r | x) = N(mu(x), diag(sigma(x)^2)),
trained on the evidence lower bound with the prior N(0, I); the prediction averages probabilities over samples of r.
From the authors' code: mu and log sigma^2 are networks of three linear layers with ELU, hidden width d / 2; the KL
term is averaged over dimensions and weighted 0.001.

The authors' code calls this posterior "cocoopvpt"; here it is CONDITIONAL True. What it calls "coopvpt", and SHIP's
Table 1 lists as CoOp + VPT, has a posterior that does not see the image: mu (from 0) and log sigma^2 (from U(0, 1)) are
parameters. That is the default.
"""

import math

import torch
import torch.nn as nn
import torch.nn.functional as F

from .coop import CoOpHead
from .core import PromptTrainer, Range
from .core.randomness import derive_seed
from .plugins import register_twins


def inference_net(inputs, hidden, outputs):
    """Three linear layers with ELU between them."""
    return nn.Sequential(
        nn.Linear(inputs, hidden), nn.ELU(), nn.Linear(hidden, hidden), nn.ELU(), nn.Linear(hidden, outputs)
    )


class ImagePosterior(nn.Module):
    """q(r | x): features [B, d] -> mean and log variance, each [B, w]."""

    def __init__(self, backbone):
        super().__init__()
        inputs, outputs = backbone.embed_dim, backbone.width
        self.mean, self.log_variance = (inference_net(inputs, inputs // 2, outputs) for _ in range(2))

    def forward(self, features):
        return self.mean(features).float(), self.log_variance(features).float()


class SharedPosterior(nn.Module):
    """q(r), the same for all images: mean and log variance, each [1, w]."""

    def __init__(self, backbone):
        super().__init__()
        self.mean = nn.Parameter(torch.zeros(1, backbone.width))
        self.log_variance = nn.Parameter(torch.rand(1, backbone.width))

    def forward(self, features):
        return self.mean, self.log_variance


def mean_kl(mean, log_variance):
    """KL(N(mean, exp(log_variance)) || N(0, I)) as a mean over dimensions and rows."""
    return 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance).mean()


class VPTHead(CoOpHead):
    """Unit features [B, d] -> log p(y | x) [B, C], p being averaged over samples of the residual."""

    USES_TEXT_FEATURES = False
    JOINT = True  # log probabilities over all names
    evaluation_batch = 16  # images, each with several sets of prompts of its own

    def __init__(self, backbone, classnames, ctx, options):
        super().__init__(backbone, classnames, ctx, chunk=options.CHUNK)
        self.options = options
        self.posterior = (ImagePosterior if options.CONDITIONAL else SharedPosterior)(backbone)
        self.mean = None  # of the posterior over the last batch [w]
        if options.CONDITIONAL:
            self.NO_EXPORT = "with CONDITIONAL True its posterior sees the image, and each has prompts of its own"

    def noise(self, rows):
        """Standard normal samples [S, rows or 1, w]. At test they are the same for every image and in every evaluation,
        so that a prediction depends on nothing but the image and the model."""
        width = self.ctx.shape[1]
        if self.training:
            return torch.randn(self.options.SAMPLES, rows, width).to(self.ctx.device)
        fixed = torch.Generator().manual_seed(derive_seed("VPT", "evaluation"))
        return torch.randn(self.options.TEST_SAMPLES, 1, width, generator=fixed).to(self.ctx.device)

    def encode_names(self, tokens):
        """Under the posterior's mean (of the last batch, where it sees the image)."""
        mean = self.mean if self.options.CONDITIONAL else self.posterior.mean[0]
        return self.encode(tokens, self.ctx if mean is None else self.ctx + mean)

    def sampled_features(self, contexts):
        """Unit text features [S, C, d] of the head's names under contexts [S, n, w]."""
        return torch.stack([self.encode(self.tokens, ctx) for ctx in contexts])

    def predict(self, features):
        """-> (log p(y | x) [B, C], KL of the posterior)."""
        mean, log_variance = self.posterior(features)
        self.mean = mean.mean(0)
        residual = mean + (0.5 * log_variance).exp() * self.noise(len(mean))  # [S, B, w]; B is 1 for all images
        contexts = self.ctx + residual[:, :, None]  # [S, B, n, w]
        if self.options.CONDITIONAL:
            rows = [self.sampled_features(contexts[:, i]) @ feature for i, feature in enumerate(features)]
            cosine = torch.stack(rows, 1)
        else:
            sampled = self.once("sampled features", lambda: self.sampled_features(contexts[:, 0]))
            cosine = features @ sampled.transpose(1, 2)
        log_p = F.log_softmax(self.logit_scale * cosine.float(), -1)  # [S, B, C]
        return log_p.logsumexp(0) - math.log(len(log_p)), mean_kl(mean, log_variance)

    def forward(self, features):
        return self.predict(features)[0]


@register_twins
class CoOp_VPT(PromptTrainer):
    SECTION = "VPT"
    OPTIONS = {
        "CONDITIONAL": False,  # one posterior for all images; True: it sees the image
        "SAMPLES": 1,  # Monte-Carlo samples per training step
        "TEST_SAMPLES": 10,  # whose probabilities are averaged at test
        "KL_WEIGHT": 0.001,  # of the KL term, which is a mean over dimensions
    }
    LIMITS = {"SAMPLES": Range(1), "TEST_SAMPLES": Range(1), "KL_WEIGHT": Range(0)}
    MODEL_NAME = "prompt_learner"
    STEPS_DRAW = True  # the residual

    def build_head(self, classnames):
        return VPTHead(self.backbone, classnames, self.initial_context(), self.options)

    def compute_loss(self, features, labels):
        """The negative evidence lower bound."""
        log_p, kl = self.head.predict(features)
        return F.nll_loss(log_p, labels) + self.options.KL_WEIGHT * kl, log_p
