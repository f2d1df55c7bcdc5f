"""CoOp + VPT against the plain formulation, and through the command line."""

from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from plain import plain_text_features, relative, unit
from runs import EVERY_STEP, Recorded, argv
from tiny_data import NAMES

from trainers.coop_vpt import VPTHead
from trainers.core.model.prompts import initial_context


def plain_posterior(parameters, feature):
    """Mean and log variance [w] of one image's residual."""
    if "posterior.mean" in parameters:
        return parameters["posterior.mean"][0], parameters["posterior.log_variance"][0]
    found = []
    for net in ("mean", "log_variance"):
        x = feature
        for layer in (0, 2, 4):
            x = parameters[f"posterior.{net}.{layer}.weight"] @ x + parameters[f"posterior.{net}.{layer}.bias"]
            x = F.elu(x) if layer < 4 else x
        found.append(x)
    return found


def plain_probabilities(backbone, names, parameters, feature, noise):
    """Mean over samples of softmax(scale * cosine) [C] of one image, noise [S, w]."""
    mean, log_variance = plain_posterior(parameters, feature)
    total = 0
    for epsilon in noise:
        text = plain_text_features(backbone, names, parameters["ctx"] + mean + log_variance.exp().sqrt() * epsilon)
        total = total + (backbone.logit_scale.exp() * text @ feature).softmax(-1)
    return total / len(noise)


def plain_kl(parameters, feature):
    mean, log_variance = plain_posterior(parameters, feature)
    posterior = torch.distributions.Normal(mean, log_variance.exp().sqrt())
    return torch.distributions.kl_divergence(posterior, torch.distributions.Normal(0.0, 1.0)).mean()


@torch.no_grad()
@pytest.mark.parametrize("conditional", [True, False])
def test_evaluation_draws_the_same_samples_whatever_came_before(miniclip_backbone, conditional):
    torch.manual_seed(0)
    options = SimpleNamespace(CONDITIONAL=conditional, SAMPLES=3, TEST_SAMPLES=4, CHUNK=0)
    head = VPTHead(miniclip_backbone, NAMES, initial_context(miniclip_backbone, "a photo of a", 4), options).eval()
    log_variance = head.posterior.log_variance
    (log_variance[-1].bias if conditional else log_variance).sub_(6)  # samples that agree enough to be compared
    features = unit(4, miniclip_backbone.embed_dim)
    first = head(features)
    head.train()
    head.eval()
    state = torch.get_rng_state()
    assert torch.equal(first, head(features)) and torch.equal(state, torch.get_rng_state())
    assert relative(torch.cat([head(feature[None]) for feature in features]), first) <= 1e-6
    noise, parameters = head.noise(1)[:, 0], dict(head.named_parameters())
    plain = [plain_probabilities(miniclip_backbone, NAMES, parameters, feature, noise) for feature in features]
    assert len(noise) == 4 and relative(first, torch.stack(plain).log()) <= 1e-5
    head.train()
    assert not torch.equal(head(features), head(features))


@pytest.mark.parametrize("conditional", [True, False])
def test_losses_equal_the_plain_formulation(tiny_bank, tmp_path, monkeypatch, miniclip_backbone, conditional):
    options = [*EVERY_STEP, "DATALOADER.TRAIN_X.BATCH_SIZE", "4", "OPTIM.MAX_EPOCH", "1"]
    options += ["TRAINER.VPT.KL_WEIGHT", "0.1", "TRAINER.VPT.CONDITIONAL", str(conditional), "TRAINER.VPT.SAMPLES", "3"]
    run = Recorded(monkeypatch, argv(tiny_bank, tmp_path, "CoOp_VPT", *options))
    names, width = run.trainer.trained_classnames, miniclip_backbone.width

    def plain(parameters, features, labels, _):
        noise = torch.randn(3, 4 if conditional else 1, width).expand(3, 4, -1)
        losses = []
        for i, (feature, label) in enumerate(zip(features, labels)):
            p = plain_probabilities(miniclip_backbone, names, parameters, feature, noise[:, i])
            losses.append(-p[label].log() + 0.1 * plain_kl(parameters, feature))
        return torch.stack(losses).mean()

    assert run.losses == pytest.approx(run.plain_losses(plain)[0], abs=2e-4) and len(run.losses) == 4
