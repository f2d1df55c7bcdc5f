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

OPTIONS = SimpleNamespace(CONDITIONAL=True, SAMPLES=3, TEST_SAMPLES=4, CHUNK=0)
SHARED = SimpleNamespace(CONDITIONAL=False, SAMPLES=3, TEST_SAMPLES=4, CHUNK=0)


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


def make_head(backbone, options):
    torch.manual_seed(0)
    head = VPTHead(backbone, NAMES, initial_context(backbone, "a photo of a", 4), options)
    with torch.no_grad():  # a small spread, so that samples agree enough to be compared in relative terms
        log_variance = head.posterior.log_variance
        (log_variance[-1].bias if options.CONDITIONAL else log_variance).sub_(6)
    return head


@pytest.mark.parametrize("options", [OPTIONS, SHARED])
def test_prediction_and_gradients_equal_the_plain_formulation(miniclip_backbone, options):
    head = make_head(miniclip_backbone, options)
    features = unit(3, miniclip_backbone.embed_dim)
    labels, rows = torch.tensor([0, 3, 6]), 3 if options.CONDITIONAL else 1
    torch.manual_seed(5)
    log_p, kl = head.predict(features)
    (F.nll_loss(log_p, labels) + kl).backward()
    torch.manual_seed(5)
    noise = torch.randn(3, rows, miniclip_backbone.width).expand(3, 3, -1)
    parameters = {name: value.detach().clone().requires_grad_() for name, value in head.named_parameters()}
    p = []
    for i, feature in enumerate(features):
        p.append(plain_probabilities(miniclip_backbone, NAMES, parameters, feature, noise[:, i]))
    p = torch.stack(p)
    plain_kls = torch.stack([plain_kl(parameters, feature) for feature in features]).mean()
    (-p[range(3), labels].log().mean() + plain_kls).backward()
    assert relative(log_p, p.log()) <= 1e-5 and kl.item() == pytest.approx(plain_kls.item(), rel=1e-5)
    assert all(relative(value.grad, parameters[name].grad) <= 2e-5 for name, value in head.named_parameters())


@pytest.mark.parametrize("options", [OPTIONS, SHARED])
def test_evaluation_draws_the_same_samples_whatever_came_before(miniclip_backbone, options):
    head = make_head(miniclip_backbone, options).eval()
    features = unit(4, miniclip_backbone.embed_dim)
    with torch.no_grad():
        torch.manual_seed(1)
        first = head(features)
        torch.manual_seed(2)
        head.train()
        head.eval()
        state = torch.get_rng_state()
        assert torch.equal(first, head(features)) and torch.equal(state, torch.get_rng_state())
        assert relative(torch.cat([head(feature[None]) for feature in features]), first) <= 1e-6
        assert first.exp().sum(1).allclose(torch.ones(4), atol=1e-5)
        noise = head.noise(1)[:, 0]
        assert len(noise) == 4
        parameters = dict(head.named_parameters())
        plain = [plain_probabilities(miniclip_backbone, NAMES, parameters, feature, noise) for feature in features]
        assert relative(first, torch.stack(plain).log()) <= 1e-5
        head.train()
        assert not torch.equal(head(features), head(features))


@pytest.mark.parametrize("conditional", [True, False])
def test_losses_equal_the_plain_formulation(tiny_bank, tmp_path, monkeypatch, miniclip_backbone, conditional):
    options = [*EVERY_STEP, "DATALOADER.TRAIN_X.BATCH_SIZE", "4", "OPTIM.MAX_EPOCH", "1"]
    options += ["TRAINER.VPT.KL_WEIGHT", "0.1", "TRAINER.VPT.CONDITIONAL", str(conditional)]
    run = Recorded(monkeypatch, argv(tiny_bank, tmp_path, "CoOp_VPT", *options))
    names, width = run.trainer.trained_classnames, miniclip_backbone.width

    def plain(parameters, features, labels, _):
        noise = torch.randn(1, 4 if conditional else 1, width).expand(1, 4, -1)
        losses = []
        for i, (feature, label) in enumerate(zip(features, labels)):
            p = plain_probabilities(miniclip_backbone, names, parameters, feature, noise[:, i])
            losses.append(-p[label].log() + 0.1 * plain_kl(parameters, feature))
        return torch.stack(losses).mean()

    assert run.losses == pytest.approx(run.plain_losses(plain)[0], abs=2e-4) and len(run.losses) == 4
