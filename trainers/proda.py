"""ProDA: Prompt Distribution Learning (Lu et al., CVPR 2022, https://arxiv.org/abs/2205.03340).

From the paper: K = 32 prompts of 16 tokens, whose class features as classifier weights are modelled as a Gaussian;
each step takes B = 4 of them and minimises an upper bound of the expected loss (L_upper) plus lambda = 0.1 times the
semantic orthogonality L_so, measured on the prompts without a class name; the mean of the weights classifies. From the
authors' code, as its public ports keep it: a quarter of the prompts has the name in front, a quarter in the middle,
half at the end; a batch of images meets all K / B batches of prompts, a step each; L_so is over all K prompts; the
covariance is diagonal over feature dimensions and divided by B + 1; the mean is not normalised again; SGD without
weight decay, 20 images. Two public ports agree with this on the loss of a step. A third, in Dassl's form
(github.com/LAMDASZ-ML/BMIPRS), computes L_so and leaves it out of the loss, which makes its first step 14% smaller.
"""

import torch
import torch.nn as nn
import torch.nn.functional as F

from .core import FeatureTrainer, PromptHead, UserError
from .core.model.prompts import ClassTokens, initial_context
from .plugins import register_twins


def positions_of(count):
    """Where each prompt has its class name: a quarter in front, a quarter in the middle, the rest at the end."""
    quarter = count // 4
    return ["front"] * quarter + ["middle"] * quarter + ["end"] * (count - 2 * quarter)


def upper_bound_logits(features, labels, weights, scale):
    """Logits [N, C] whose cross-entropy bounds the expected one from above.

    features x [N, d], labels y [N], weights [B, C, d] of B prompts. logit_i = s x.mean_i + s^2 / 2 x^T A_iy x, where
    A_iy = S_ii + S_yy - S_iy - S_yi and S_ij is the covariance of the weights of classes i and j. As S is diagonal over
    dimensions, x^T A_iy x = sum over prompts and dimensions of x^2 (c_i - c_y)^2 / (B + 1), c the centred weights.
    """
    # in float32 also under autocast: 0.5 scale^2 = 5000 times a product in half precision overflows its gradient
    with torch.autocast(features.device.type, enabled=False):
        mean = weights.mean(0)
        centred = (weights - mean).transpose(0, 1)  # [C, B, d]
        squares = features**2
        own = centred[labels]  # [N, B, d]
        variance = squares @ centred.pow(2).sum(1).t()  # x^T S_ii x [N, C]
        own_variance = variance.gather(1, labels[:, None])  # x^T S_yy x [N, 1]
        covariance = (squares[:, None] * own).flatten(1) @ centred.flatten(1).t()  # x^T S_iy x [N, C]
        spread = (variance + own_variance - 2 * covariance) / (len(weights) + 1)
        return scale * features @ mean.t() + 0.5 * scale**2 * spread


class ProDAHead(PromptHead):
    """K learned contexts [K, n, w]: unit features [B, d] -> logits [B, C] by the mean of the prompts' class weights."""

    def __init__(self, backbone, classnames, ctx, chunk=0):
        super().__init__(backbone, classnames, ctx.shape[1], chunk)
        self.ctx = nn.Parameter(ctx.float())
        self.positions = positions_of(len(ctx))
        self.chosen = range(len(ctx))  # the prompts of this step
        self.full_stop = ClassTokens(["X"], backbone).embedding[0, 1:]  # "." and EOT [2, w]: "X" is a single token

    def weights(self, tokens, chosen):
        """Classifier weights of names under the prompts `chosen`, unit norm [len(chosen), N, d]."""
        return torch.stack([self.encode(tokens, self.ctx[i], self.positions[i]) for i in chosen])

    def step_weights(self):
        """Those of the head's names under the step's prompts."""
        return self.once("step weights", lambda: self.weights(self.tokens, self.chosen))

    def encode_names(self, tokens):
        """The unit mean over the step's prompts."""
        weights = self.step_weights() if tokens is self.tokens else self.weights(tokens, self.chosen)
        return F.normalize(weights.mean(0), dim=-1)

    def semantic_orthogonality(self):
        """L_so: mean |cosine| between the text features of any two prompts without a class name (`context.`)."""
        count, length, _ = self.ctx.shape
        prompts = torch.cat([self.ctx.to(self.full_stop.dtype), self.full_stop.expand(count, -1, -1)], 1)
        features = self._encoder(prompts, torch.full((count,), length + 2), self.tokens.sos[None])
        features = F.normalize(features.float(), dim=-1)
        cosine = features @ features.t()
        return (cosine.abs().sum() - cosine.diagonal().abs().sum()) / (count * (count - 1))

    def class_weights(self):
        """The mean over all prompts [C, d], which is shorter than 1."""
        return self.once("mean weights", lambda: self.weights(self.tokens, range(len(self.ctx))).mean(0))

    def forward(self, features):
        return self.logit_scale * features @ self.class_weights().t()


class WithPromptBatches:
    """Each batch of `loader` K / B times, under "prompts" the parts of a random partition of the K prompts."""

    def __init__(self, loader, n_prompt, prompt_batch):
        self.loader, self.n_prompt, self.prompt_batch = loader, n_prompt, prompt_batch

    def __len__(self):
        return len(self.loader) * (self.n_prompt // self.prompt_batch)

    def __iter__(self):
        for batch in self.loader:
            for prompts in torch.randperm(self.n_prompt).split(self.prompt_batch):
                yield {**batch, "prompts": prompts}


@register_twins
class ProDA(FeatureTrainer):
    SECTION = "PRODA"
    OPTIONS = {
        "N_CTX": 16,  # context length
        "N_PROMPT": 32,  # K, prompts that are learned
        "PROMPT_BATCH": 4,  # B, prompts per step; it divides K
        "ALPHA": 0.1,  # lambda, the weight of the semantic orthogonality
        "CHUNK": 0,  # class names per text-encoder pass with recomputation, to bound memory; 0: by free memory
    }
    MODEL_NAME = "prompt_learner"
    LEARNS_PROMPTS = True

    def build_head(self, classnames):
        options = self.options
        count, batch = options.N_PROMPT, options.PROMPT_BATCH
        if count < 2 or batch < 1 or count % batch:
            raise UserError(f"TRAINER.PRODA.N_PROMPT is {count}; it must be 2 or more and a multiple of PROMPT_BATCH")
        ctx = torch.stack([initial_context(self.backbone, "", options.N_CTX) for _ in range(count)])
        return ProDAHead(self.backbone, classnames, ctx, options.CHUNK)

    def make_loader(self):
        return WithPromptBatches(super().make_loader(), self.options.N_PROMPT, self.options.PROMPT_BATCH)

    def compute_loss(self, features, labels):
        head = self.head
        head.chosen = self.batch["prompts"].tolist()
        logits = upper_bound_logits(features, labels, head.step_weights(), head.logit_scale)
        return F.cross_entropy(logits, labels) + self.options.ALPHA * head.semantic_orthogonality(), logits
