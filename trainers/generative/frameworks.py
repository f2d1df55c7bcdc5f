"""The frameworks around a generator: SHIP's variational autoencoder, and the paper's Table 4's adversarial one ("G");
made from options (cfg.TRAINER.SHIP), untrained or as a run left them.

The autoencoder (paper section 3.2, Eq. 2). With L = |x - x~|^2 + beta KL the decoder's variance is beta / 2. A linear
VAE (probabilistic PCA; Lucas et al., NeurIPS 2019, https://arxiv.org/abs/1911.02469) uses a latent dimension only where
an eigenvalue l_j of the covariance of what it is to reconstruct exceeds beta / 2. Unit features have eigenvalues far
below 1/2, so at weight 1 the posterior must collapse. KL_WEIGHT_RULE auto takes the weight from the features alone.

The adversarial one. The paper's part: a GAN in WGAN's form (Arjovsky et al. 2017, https://arxiv.org/abs/1701.07875; its
reference [2]), and AdamW at 1e-3 for all networks. It gives no more, so the rest is our choice. The critic D(x, t_c)
sees the class, as in f-CLSWGAN (Xian et al., CVPR 2018): without it nothing would ask a feature to show its class. It
is as wide and as deep as the VAE's encoder. A gradient penalty keeps it Lipschitz, in place of WGAN's weight clipping
(Gulrajani et al. 2017, https://arxiv.org/abs/1704.00028), with the weight, the critic's number of updates and the betas
of that paper's Algorithm 1. The updates of the critic share a batch of real features, each with new synthetic ones; one
of the generator follows, so that it gets as many as in the VAE.
"""

import json
import os

import torch
import torch.nn as nn

from ..core.checkpoints import read
from ..core.data import to_device
from ..core.files import UserError
from ..core.gaussian import means_of
from .generator import LEAKY, TRAINING_FREE, FeatureGenerator, PromptGenerator, class_features, gaussian_init, mlp
from .training import FINAL, FOLDER

ARCHITECTURE = ("FRAMEWORK", "GENERATOR", "N_CTX", "GLOBAL", "SEQUENTIAL", "HIDDEN_DIM", "LATENT_DIM")
KEPT = 0.9  # of the within-class variance, by KL_WEIGHT_RULE auto
PENALTY_WEIGHT = 10.0
CRITIC_STEPS = 5  # for each step of the generator
BETAS = (0.0, 0.9)  # no momentum: the critic's target moves


def adamw(module, options, **more):
    """The optimiser of all networks of the paper (section 4.1) for the parameters of `module`."""
    # fused: one pass over the parameters, a tenth of the time on a CPU
    return torch.optim.AdamW(module.parameters(), lr=options.LR, weight_decay=options.WEIGHT_DECAY, fused=True, **more)


def descend(loss, *optimizers):
    """One step of each optimiser down the gradient of `loss`; whether it is finite is seen when the epoch ends."""
    for optimizer in optimizers:
        optimizer.zero_grad(set_to_none=True)
    loss.backward()
    for optimizer in optimizers:
        optimizer.step()


# ---- the autoencoder


class Encoder(nn.Module):
    """E: unit feature x [B, d] -> (mu, log var) [B, k] each, through one hidden ReLU layer."""

    def __init__(self, feature_dim, hidden_dim, latent_dim):
        super().__init__()
        self.hidden = nn.Sequential(nn.Linear(feature_dim, hidden_dim), nn.ReLU())
        self.mu = nn.Linear(hidden_dim, latent_dim)
        self.log_var = nn.Linear(hidden_dim, latent_dim)
        gaussian_init(self)

    def forward(self, x):
        hidden = self.hidden(x)
        return self.mu(hidden), self.log_var(hidden)


def kl_to_standard_normal(mu, log_var):
    """KL(N(mu, var) || N(0, I)), summed over the latent, averaged over the batch -> scalar."""
    return 0.5 * (mu.square() + log_var.exp() - log_var - 1).sum(1).mean()


class VAE(nn.Module):
    """Encoder and generator; `loss` is Eq. 2 with a weight on the KL term (the paper's is 1)."""

    def __init__(self, generator, feature_dim, hidden_dim, kl_weight=1.0):
        super().__init__()
        self.generator, self.kl_weight = generator, kl_weight
        self.encoder = Encoder(feature_dim, hidden_dim, generator.latent_dim)

    def optimizers(self, options):
        return [adamw(self, options)]

    def step(self, x, labels, classes, optimizers):
        loss, terms = self.loss(x, labels, classes)
        descend(loss, *optimizers)
        return terms

    def loss(self, x, labels, classes):
        """-> (loss, {"reconstruction", "kl"}) for unit features x [B, d] of classes `labels` [B]."""
        mu, log_var = self.encoder(x)
        z = mu + torch.randn_like(mu) * (0.5 * log_var).exp()
        reconstruction = (x - self.generator(z, labels, classes)).square().sum(1).mean()
        kl = kl_to_standard_normal(mu, log_var)
        return reconstruction + self.kl_weight * kl, {"reconstruction": reconstruction.detach(), "kl": kl.detach()}


def keeping_weight(images, classes, share=KEPT):
    """The KL weight at which the dimensions that hold `share` of the variance within `classes` classes are just used,
    of a FeatureSet's views."""
    x, labels = images.features.double(), images.labels.repeat_interleave(images.views)
    residuals = x - means_of(x, labels, classes)[labels]
    spectrum = torch.linalg.eigvalsh(residuals.t() @ residuals / len(x)).flip(0).clamp(min=0)  # the largest first
    held = spectrum.cumsum(0) / spectrum.sum()
    return 2 * spectrum[int((held < share - 1e-9).sum())].item()


# ---- the adversarial one


def critic_loss(score, x, synthetic, condition, penalty_weight):
    """Wasserstein loss of a critic `score(x, condition)` -> [B] on real and synthetic features [B, d] of the same
    classes.

    -> (loss, {"distance", "penalty"}): how far it tells them apart, and its gradient from norm 1 between them.
    """
    distance = score(x, condition).mean() - score(synthetic, condition).mean()
    share = to_device(torch.rand(len(x), 1), x.device)
    between = (share * x + (1 - share) * synthetic).requires_grad_()
    (slope,) = torch.autograd.grad(score(between, condition).sum(), between, create_graph=True)
    penalty = (slope.norm(dim=1) - 1).square().mean()
    return penalty_weight * penalty - distance, {"distance": distance.detach(), "penalty": penalty.detach()}


class WGAN(nn.Module):
    """A generator and its critic D: unit feature x and class feature t_c [B, d] each -> score [B]."""

    def __init__(self, generator, backbone, hidden_dim):
        super().__init__()
        self.generator, self.class_features = generator, class_features(backbone)
        self.critic = mlp(2 * backbone.embed_dim, hidden_dim, 1, activation=LEAKY)

    def score(self, x, condition):
        return self.critic(torch.cat([x, condition], 1)).squeeze(1)

    def synthesize(self, labels, classes):
        z = torch.randn(len(labels), self.generator.latent_dim)
        return self.generator(to_device(z, classes.embedding.device), labels, classes)

    def optimizers(self, options):
        return [adamw(network, options, betas=BETAS) for network in (self.critic, self.generator)]

    def step(self, x, labels, classes, optimizers):
        """-> {"distance", "penalty"} of the critic's last update."""
        condition = self.class_features(classes)[labels]
        with torch.no_grad():
            draws = self.synthesize(labels.repeat(CRITIC_STEPS), classes).chunk(CRITIC_STEPS)
        for synthetic in draws:
            loss, terms = critic_loss(self.score, x, synthetic, condition, PENALTY_WEIGHT)
            descend(loss, optimizers[0])
        descend(-self.score(self.synthesize(labels, classes), condition).mean(), optimizers[1])
        return terms


# ---- from options


def build_framework(options, backbone, kl_weight):
    """A generator, untrained, and what trains it, on the text tower in float32."""
    latent_dim, hidden_dim = options.LATENT_DIM or backbone.width, options.HIDDEN_DIM
    if options.GENERATOR == "mlp":
        generator = FeatureGenerator(backbone, latent_dim, hidden_dim)
    else:
        how = options.GLOBAL, options.SEQUENTIAL
        generator = PromptGenerator(backbone, options.N_CTX, latent_dim, hidden_dim, *how)
    if options.FRAMEWORK == "gan":
        return WGAN(generator, backbone, hidden_dim)
    return VAE(generator, backbone.embed_dim, hidden_dim, kl_weight)


def fit_framework(options, backbone, templates, images, classes, share):
    """The same of a generator that needs no training: made of a FeatureSet of `classes` (a ClassTokens), which has
    `share` of the images of a full run."""
    kind = TRAINING_FREE[options.GENERATOR]
    tensors = kind.fitted(images, class_features(backbone, templates)(classes))
    return nn.ModuleDict({"generator": kind(backbone, templates, tensors, share)})


def load_framework(path, options, backbone, device):
    """What a run trained, from its folder or its `generator/` folder -> (framework, {"loaded_from", its last terms}).

    Raises UserError if it is missing or was made with another backbone or other options than `options`.
    """
    candidates = [os.path.join(path, FINAL), os.path.join(path, FOLDER, FINAL)]
    file = next((path for path in candidates if os.path.isfile(path)), None)
    if file is None:
        raise UserError(f"no {FINAL} in {path}; expected the output folder of a finished run of a trainer with SHIP")
    state = read(file)
    settings = json.loads(state["settings"])
    if settings["backbone"] != backbone.weights_hash:
        raise UserError(f"the generator {file} was trained on another backbone than this run's {backbone.name}")
    is_trained = options.GENERATOR not in TRAINING_FREE
    compared = ARCHITECTURE if is_trained else ("GENERATOR",)
    made = settings["options"]
    wanted = [f"TRAINER.SHIP.{key} {made[key]}" for key in compared if made[key] != options[key]]
    if wanted:
        raise UserError(f"the generator {file} was trained with other options; set {', '.join(wanted)}")
    if is_trained:
        framework = build_framework(options, backbone, options.KL_WEIGHT)
        framework.load_state_dict(state["state_dict"])
    else:
        tensors = {name.removeprefix("generator."): value for name, value in state["state_dict"].items()}
        generator = TRAINING_FREE[options.GENERATOR](backbone, settings["templates"], tensors)
        framework = nn.ModuleDict({"generator": generator})
    report = {"loaded_from": file, **(state["history"] or [{}])[-1]}
    return framework.to(device).requires_grad_(False).eval(), report
