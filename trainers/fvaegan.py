"""f-VAEGAN-D2: A Feature Generating Framework for Any-Shot Learning (Xian et al., CVPR 2019,
https://arxiv.org/abs/1903.10132).

A baseline of SHIP's Table 3, in its inductive form (without the second discriminator, which would see unlabelled images
of unseen classes): a conditional VAE and a conditional WGAN that share a generator make image features of the
label-only classes; a softmax classifier is trained on real features of the seen and synthetic ones of the unseen
classes. A class is described by the text feature a of "a photo of a <name>." (SHIP, section 4.2.3), in place of expert
attributes. With [;] for concatenation:

    encoder q(z | x, a), generator x~ = G(z, a), critic D(x, a)
    L_VAE  = KL(q(z | x, a) || N(0, I)) - E[log p(x | z, a)],  z ~ q(z | x, a)
    L_WGAN = E[D(x, a)] - E[D(x~, a)] - lambda E[(|| grad D(x^, a) || - 1)^2],  z ~ N(0, I), x^ between x and x~
    min_{G, E} max_D  L_VAE + gamma L_WGAN

The losses are the paper's. Sizes and settings follow the public code of its successor TF-VAEGAN, which contains it
(github.com/akshitac8/tfvaegan): one hidden layer of 4096 units in each network, leaky ReLUs, z as wide as a, lambda 10,
gamma 10, five updates of the critic for one of the generator; features scaled to [0, 1] by dimension, a sigmoid at G's
end and binary cross-entropy as -log p; N(0, 0.02) weights; Adam at 1e-4, betas (0.5, 0.999), the encoder's (0.9,
0.999), batches of 64; Adam at 1e-3 for 25 epochs of the classifier, in batches as large as the synthetic features of a
class. Epochs and synthetic features differ by data set: PER_DATASET in configs/trainers/f_VAEGAN/vit_b16.yaml. Unlike
that code we keep lambda fixed, draw the WGAN's z from N(0, I) on all datasets, let the critic's updates share their
batch of real features, train on random views of the images (it has one plain view), and take the last epoch, where it
takes the best on test.
"""

from functools import partial

import torch
import torch.nn as nn
import torch.nn.functional as F

from .core import FeatureTrainer, RowHead, UserError
from .core.data import FeatureLoader, FeatureSet
from .core.model.prompts import ClassTokens
from .core.randomness import seed_all
from .generative.frameworks import critic_loss, descend, kl_to_standard_normal
from .generative.generator import LEAKY, class_features, gaussian_init, mlp
from .generative.synthesis import Synthesizer
from .generative.training import STAGE, GeneratorTraining
from .plugins import register_twins

BETAS, ENCODER_BETAS = (0.5, 0.999), (0.9, 0.999)  # of Adam; the public code leaves the encoder's at torch's default


class Scale(nn.Module):
    """Features [B, d] to and from the range [0, 1] that they have in the training set, dimension by dimension."""

    def __init__(self, features):
        super().__init__()
        low, high = features.amin(0), features.amax(0)
        self.register_buffer("low", low.clone())
        self.register_buffer("span", torch.where(high > low, high - low, torch.ones_like(low)))

    def forward(self, features):
        return (features - self.low) / self.span

    def inverse(self, scaled):
        return self.low + self.span * scaled


class ConditionalGenerator(nn.Module):
    """G: latent z [B, k] and class -> feature [B, d], through one hidden layer; `scaled`: in the range [0, 1]."""

    def __init__(self, backbone, hidden_dim, scale):
        super().__init__()
        width = backbone.embed_dim
        self.latent_dim, self.scale, self.class_features = width, scale, class_features(backbone)
        self.hidden = gaussian_init(nn.Sequential(nn.Linear(2 * width, hidden_dim), LEAKY()))
        self.output = gaussian_init(nn.Sequential(nn.Linear(hidden_dim, width), nn.Sigmoid()))

    def scaled(self, z, attributes):
        return self.output(self.hidden(torch.cat([z, attributes], 1)))

    def forward(self, z, labels, classes):
        """Features of classes `labels` [B] among `classes` (a ClassTokens) -> [B, d], in the scale of real features."""
        return self.scale.inverse(self.scaled(z, self.class_features(classes)[labels]))


class VAEGAN(nn.Module):
    """Encoder, generator and critic on scaled features x [B, d] and attributes a [B, d] of their classes."""

    GENERATOR = ConditionalGenerator

    def __init__(self, backbone, options, train_set):
        """The features of `train_set` give the scale; `options` is the method's config node."""
        super().__init__()
        width, hidden = backbone.embed_dim, options.HIDDEN_DIM
        self.options, self.generator = options, self.GENERATOR(backbone, hidden, Scale(train_set.features))
        self.encoder = mlp(2 * width, hidden, 2 * width, 2 * width, activation=LEAKY)  # -> mu, log var
        self.critic = mlp(2 * width, hidden, 1, activation=LEAKY)

    def optimizers(self, options):
        trained = [
            {"params": [*self.generator.hidden.parameters(), *self.generator.output.parameters()]},
            {"params": [*self.encoder.parameters()], "betas": ENCODER_BETAS},
        ]
        return [adam(self.critic.parameters(), options.LR), adam(trained, options.LR)]

    def score(self, x, attributes):
        return self.critic(torch.cat([x, attributes], 1)).squeeze(1)

    def generator_loss(self, x, attributes, labels):
        """L_VAE - gamma E[D(x~, a)] -> (loss, {"reconstruction", "kl"}, the synthetic x~ [B, d])."""
        mu, log_var = self.encoder(torch.cat([x, attributes], 1)).chunk(2, 1)
        reconstructed = self.generator.scaled(mu + torch.randn_like(mu) * (0.5 * log_var).exp(), attributes)
        reconstruction = F.binary_cross_entropy(reconstructed, x, reduction="sum") / len(x)
        kl = kl_to_standard_normal(mu, log_var)
        synthetic = self.generator.scaled(torch.randn_like(mu), attributes)
        loss = reconstruction + kl - self.options.GAN_WEIGHT * self.score(synthetic, attributes).mean()
        return loss, {"reconstruction": reconstruction.detach(), "kl": kl.detach()}, synthetic

    def update_critic(self, x, attributes, optimizer):
        """The critic's updates for one of the generator, by -L_WGAN -> the terms of the last."""
        for _ in range(self.options.CRITIC_STEPS):
            with torch.no_grad():
                synthetic = self.generator.scaled(torch.randn_like(x), attributes)
            loss, terms = critic_loss(self.score, x, synthetic, attributes, self.options.PENALTY_WEIGHT)
            descend(loss, optimizer)
        return terms

    def step(self, x, labels, classes, optimizers):
        x, attributes = self.generator.scale(x), self.generator.class_features(classes)[labels]
        terms = self.update_critic(x, attributes, optimizers[0])
        loss, more, _ = self.generator_loss(x, attributes, labels)
        descend(loss, optimizers[1])
        return {**terms, **more}


def adam(parameters, rate):
    return torch.optim.Adam(parameters, lr=rate, betas=BETAS, fused=True)  # fused: faster on a CPU too


class Classifier(RowHead):
    """Features [B, d] -> logits [B, C]: one linear layer on the scaled features, or on what `transform` makes of
    them."""

    UNKNOWN = "its classifier learns a fixed set of names"

    def __init__(self, backbone, classnames, scale, linear, transform=None):
        super().__init__(backbone, classnames)
        self.scale, self.linear, self.transform = scale, linear, transform or nn.Identity()

    def forward(self, features):
        return self.linear(self.transform(self.scale(features)))

    def for_classes(self, classnames):
        """The head over some of its classes: their rows of the layer."""
        rows = self.rows(classnames)
        linear = nn.Linear(self.linear.in_features, len(rows))
        linear.load_state_dict({name: value[rows] for name, value in self.linear.state_dict().items()})
        return Classifier(self.backbone, classnames, self.scale, linear, self.transform)


@register_twins
class f_VAEGAN(FeatureTrainer):
    SECTION = "F_VAEGAN"
    OPTIONS = {
        "HIDDEN_DIM": 4096,
        "LR": 1e-4,
        "EPOCHS": 300,  # of the generator; OPTIM has those of the classifier
        "BATCH_SIZE": 64,
        "CRITIC_STEPS": 5,  # updates of the critic for one of the generator
        "PENALTY_WEIGHT": 10.0,  # lambda
        "GAN_WEIGHT": 10.0,  # gamma
        "SYNTHETIC": 300,  # features of each label-only class for the classifier
    }
    MODEL_NAME = "classifier"
    NEEDS_FEATURES = True
    REFUSES = {"SHIP": "it makes features of the label-only classes by itself"}
    FRAMEWORK = VAEGAN

    generator, report = None, {}

    def head_classnames(self):
        return super().head_classnames() + self.task.label_only_classnames()

    def prepare(self):
        name, real, new = type(self).__name__, self.task.real_classnames(), self.task.label_only_classnames()
        if not new or not real:
            missing = "label-only classes" if real else "training images"
            raise UserError(f"{name}: TASK {self.cfg.TASK} has no {missing} here; use TASK gzsl or base2new")
        seen, unseen = ClassTokens(real, self.backbone), ClassTokens(new, self.backbone)
        with self.watch.stage(STAGE):
            build = partial(self.FRAMEWORK, self.backbone, self.options, self.train_set)
            framework, self.report, _ = GeneratorTraining(build, self, self.SECTION, seen, self.options.EPOCHS).run()
            self.generator = framework.generator
            seed_all(self.cfg.SEED, "support")
            self.synthetic = Synthesizer(self.generator, unseen, first_label=len(real)).balanced(self.options.SYNTHETIC)
        super().prepare()
        seed_all(self.cfg.SEED, "head")

    def make_loader(self):
        loader = self.cfg.DATALOADER.TRAIN_X
        return FeatureLoader(FeatureSet.join([self.train_set, self.synthetic]), loader.BATCH_SIZE, loader.DROP_LAST)

    def build_head(self, classnames):
        """With the scale of the generator; where there is none yet, with one to be loaded from a checkpoint."""
        scale = Scale(torch.zeros(1, self.backbone.embed_dim))
        generator = self.generator or self.FRAMEWORK.GENERATOR(self.backbone, self.options.HIDDEN_DIM, scale)
        return self.classifier(classnames, generator)

    def classifier(self, classnames, generator):
        """The head on a generator's features, untrained."""
        linear = gaussian_init(nn.Linear(self.backbone.embed_dim, len(classnames)))
        return Classifier(self.backbone, classnames, generator.scale, linear)

    def own_results(self):
        return {"generator": self.report}
