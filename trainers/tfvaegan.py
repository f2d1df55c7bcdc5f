"""TF-VAEGAN: Latent Embedding Feedback and Discriminative Features for Zero-Shot Classification (Narayan et al., ECCV
2020, https://arxiv.org/abs/2003.07833).

A baseline of SHIP's Table 3: f-VAEGAN (fvaegan.py) with a semantic decoder Dec: x -> a^ that takes part at all stages,
h being its hidden layer.

* Training: L_VAE + gamma L_WGAN + beta L_R; L_R asks Dec for the attributes of real and of synthetic features.
* Feedback: F turns h of a first x~ into an addition to G's hidden layer, from which the refined x~ comes: G(z, a) with
  delta F(h) added.
* Classification: the softmax classifier sees [x; h] in place of x.

The rest follows its code (github.com/akshitac8/tfvaegan): Dec and F have hidden layers as wide as
G's, a^ has unit norm, h reaches F without gradient; L_R is an L1 distance weighted by the squared errors over their
norm, to which its beta belongs; a rate of 1e-4 for Dec, of 1e-5 for F. What it sets by data set is PER_DATASET in
configs/trainers/TF_VAEGAN/vit_b16.yaml. That code alternates passes over the data without and with feedback; we
alternate on each batch. On AWA2 its updates of the generator leave Dec alone; ours never do. It weights the critic's
loss by 10, which Adam nearly cancels. It also shows a^ to the classifier; the paper does not.
"""

import torch
import torch.nn as nn

from .fvaegan import VAEGAN, Classifier, ConditionalGenerator, adam, f_VAEGAN
from .generative.frameworks import descend
from .generative.generator import LEAKY, gaussian_init, mlp
from .plugins import register_twins

TINY = 1e-24


class SemanticDecoder(nn.Module):
    """Dec: scaled feature x [B, d] -> attributes [B, d] of unit norm; `hidden` gives h [B, H]."""

    def __init__(self, width, hidden_dim):
        super().__init__()
        self.hidden = gaussian_init(nn.Sequential(nn.Linear(width, hidden_dim), LEAKY()))
        self.output = gaussian_init(nn.Linear(hidden_dim, width))

    def forward(self, x):
        return nn.functional.normalize(self.output(self.hidden(x)), dim=-1)


class FeedbackGenerator(ConditionalGenerator):
    """G with the feedback of a decoder; without it where `refined` is False."""

    strength, refined = 1.0, True  # strength: delta

    def __init__(self, backbone, hidden_dim, scale):
        super().__init__(backbone, hidden_dim, scale)
        self.decoder = SemanticDecoder(backbone.embed_dim, hidden_dim)
        layers = mlp(hidden_dim, hidden_dim, hidden_dim, activation=LEAKY)
        self.feedback = gaussian_init(nn.Sequential(*layers, LEAKY()))

    def scaled(self, z, attributes):
        if not self.refined:
            return super().scaled(z, attributes)
        with torch.no_grad():
            h = self.decoder.hidden(super().scaled(z, attributes))
        return self.output(self.hidden(torch.cat([z, attributes], 1)) + self.strength * self.feedback(h))


def attribute_loss(predicted, attributes):
    """L_R of `predicted` and `attributes` [B, d]: sum_j |e_j|^3 / |e| of each row's error e, averaged over the batch ->
    scalar. In the public code's words, an L1 distance weighted by the squared errors over their row's norm."""
    error = predicted - attributes
    # a row without error gives 0 with gradient 0, not 0 / 0
    weight = error.square() / error.square().sum(1, keepdim=True).clamp_min(TINY).sqrt()
    return (weight * error.abs()).sum(1).mean()


class TFVAEGAN(VAEGAN):
    GENERATOR = FeedbackGenerator

    def __init__(self, backbone, options, train_set):
        super().__init__(backbone, options, train_set)
        self.generator.strength = options.FEEDBACK

    def optimizers(self, options):
        critic, generator = super().optimizers(options)
        generator.add_param_group({"params": [*self.generator.feedback.parameters()], "lr": options.FEEDBACK_LR})
        return [critic, generator, adam(self.generator.decoder.parameters(), options.DECODER_LR)]

    def step(self, x, labels, classes, optimizers):
        """Without feedback, then with it; the terms are of the latter."""
        x, attributes = self.generator.scale(x), self.generator.class_features(classes)[labels]
        decoder, weight = self.generator.decoder, self.options.DECODER_WEIGHT
        for self.generator.refined in (False, True):
            for _ in range(self.options.CRITIC_STEPS):
                descend(weight * attribute_loss(decoder(x), attributes), optimizers[2])
            terms = self.update_critic(x, attributes, optimizers[0])
            loss, more, synthetic = self.generator_loss(x, attributes, labels)
            semantic = attribute_loss(decoder(synthetic), attributes)
            descend(loss + weight * semantic, optimizers[1], optimizers[2])
        return {**terms, **more, "semantic": semantic.detach()}


class WithHidden(nn.Module):
    """x [B, d] -> [x; h] [B, d + H], h being the hidden layer of a trained decoder."""

    def __init__(self, decoder):
        super().__init__()
        self.decoder = decoder.requires_grad_(False)

    def forward(self, x):
        return torch.cat([x, self.decoder.hidden(x)], 1)


@register_twins
class TF_VAEGAN(f_VAEGAN):
    SECTION = "TF_VAEGAN"
    OPTIONS = {
        "DECODER_WEIGHT": 0.01,  # beta
        "DECODER_LR": 1e-4,
        "FEEDBACK": 1.0,  # delta, the strength of the feedback
        "FEEDBACK_LR": 1e-5,
    }
    FRAMEWORK = TFVAEGAN

    def classifier(self, classnames, generator):
        linear = gaussian_init(nn.Linear(self.backbone.embed_dim + self.options.HIDDEN_DIM, len(classnames)))
        return Classifier(self.backbone, classnames, generator.scale, linear, WithHidden(generator.decoder))
