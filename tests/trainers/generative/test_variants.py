"""The variants of the paper's Tables 4 to 6: their mathematics, and the training loop that they share. As runs:
tests/rehearsal/test_shell.py."""

from functools import partial
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from dassl.utils import UserError
from plain import hand_written, relative, unit
from runs import ship_options
from tiny_data import NAMES
from yacs.config import CfgNode

from trainers.core.data import FeatureLoader, FeatureSet
from trainers.core.model.prompts import ClassTokens
from trainers.core.predictor import Stopwatch
from trainers.core.randomness import seed_all
from trainers.generative import gan as wgan
from trainers.generative.build import build_framework
from trainers.generative.gan import BETAS, CRITIC_STEPS, PENALTY_WEIGHT, WGAN
from trainers.generative.generator import FeatureGenerator, PromptGenerator
from trainers.generative.training import GeneratorTraining
from trainers.generative.vae import VAE

SMALL = {"HIDDEN_DIM": 12, "LATENT_DIM": 6, "EPOCHS": 3, "BATCH_SIZE": 4}


def few_features(backbone, count=10):
    return FeatureSet(unit(count, backbone.embed_dim), torch.arange(count + 1), torch.arange(count) % 3)


def pretraining(backbone, directory, **changes):
    classes = ClassTokens(NAMES[:3], backbone, n_ctx=4)
    options = ship_options(**SMALL, **changes)
    cfg = CfgNode({"SEED": 1, "TRAIN": {"CHECKPOINT_SECONDS": 0.0}, "TRAINER": {"SHIP": options}})
    run = SimpleNamespace(cfg=cfg, backbone=backbone, train_set=few_features(backbone), output_dir=str(directory))
    run.identity, run.watch, run.hides_bars, run.device, run.templates = {}, Stopwatch(), True, "cpu", []
    return GeneratorTraining(partial(build_framework, options, backbone, options.KL_WEIGHT), run, "SHIP", classes)


def close(found, expected):
    return relative(found, expected) <= 1e-5


# ---- the generator from scratch


def test_the_scratch_generator_by_hand(miniclip_backbone):
    """unit(W3 relu(W2 relu(W1 [z; t_c] + b1) + b2) + b3)."""
    torch.manual_seed(0)
    made = FeatureGenerator(miniclip_backbone, 6, 12)
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    z, labels = torch.randn(5, 6), torch.tensor([0, 3, 3, 6, 1])
    found = made(z, labels, ClassTokens(NAMES, miniclip_backbone))
    x = torch.cat([z, hand_written(miniclip_backbone, [NAMES[i] for i in labels])], 1)
    first, second, third = (made.layers[i] for i in (0, 2, 4))
    x = torch.relu(x @ first.weight.t() + first.bias)
    x = torch.relu(x @ second.weight.t() + second.bias)
    assert len(made.layers) == 5 and first.out_features == second.out_features == 12
    assert close(found, F.normalize(x @ third.weight.t() + third.bias, dim=-1))


# ---- the GAN


def test_the_critic_by_hand(miniclip_backbone):
    """Its loss and gradients on a tiny example; the slope of a two-layer critic is written out, not differentiated."""
    torch.manual_seed(0)
    gan = WGAN(FeatureGenerator(miniclip_backbone, 6, 12), miniclip_backbone, 12)
    for parameter in gan.critic.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    d = miniclip_backbone.embed_dim
    x, synthetic, condition = (F.normalize(torch.randn(4, d), dim=-1) for _ in range(3))
    torch.manual_seed(1)
    loss, terms = wgan.critic_loss(gan.score, x, synthetic, condition, PENALTY_WEIGHT)
    loss.backward()
    found = [p.grad.clone() for p in gan.critic.parameters()]
    gan.zero_grad()

    first, _, last = gan.critic

    def hidden(features):
        return torch.cat([features, condition], 1) @ first.weight.t() + first.bias

    def score(features):
        h = hidden(features)
        return torch.where(h > 0, h, 0.2 * h) @ last.weight[0] + last.bias

    torch.manual_seed(1)
    share = torch.rand(4, 1)
    between = share * x + (1 - share) * synthetic
    slope = (torch.where(hidden(between) > 0, 1.0, 0.2) * last.weight[0]) @ first.weight[:, :d]
    penalty = sum((slope[i].square().sum().sqrt() - 1) ** 2 for i in range(4)) / 4
    distance = sum(score(x) - score(synthetic)) / 4
    expected = PENALTY_WEIGHT * penalty - distance
    expected.backward()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    assert terms == pytest.approx({"distance": distance.item(), "penalty": penalty.item()}, rel=1e-5)
    assert found[-1].abs().max() < 1e-6  # D's last bias cancels out
    assert all(close(ours, p.grad) for ours, p in zip(found[:-1], list(gan.critic.parameters())[:-1], strict=True))


def test_a_step_of_the_gan(miniclip_backbone, monkeypatch):
    """Five updates of the critic, each with new synthetic features, then one of the generator up the critic's score."""
    torch.manual_seed(0)
    gan = WGAN(PromptGenerator(miniclip_backbone, 4, 6, 12), miniclip_backbone, 12)
    of_critic = torch.optim.SGD(gan.critic.parameters(), lr=0.0)
    of_generator = torch.optim.SGD(gan.generator.parameters(), lr=1.0)
    updates, seen, critic_loss = [], [], wgan.critic_loss
    for name, optimizer in (("critic", of_critic), ("generator", of_generator)):
        optimizer.register_step_post_hook(lambda *_, name=name: updates.append(name))

    def noting(score, x, synthetic, *rest):
        seen.append(synthetic)
        return critic_loss(score, x, synthetic, *rest)

    monkeypatch.setattr(wgan, "critic_loss", noting)
    data, classes = few_features(miniclip_backbone), ClassTokens(NAMES[:3], miniclip_backbone, n_ctx=4)
    before = {name: p.detach().clone() for name, p in gan.generator.named_parameters()}
    condition = hand_written(miniclip_backbone, NAMES[:3])[data.labels]
    state = torch.get_rng_state()
    terms = gan.step(data.features, data.labels, classes, [of_critic, of_generator])
    assert updates == ["critic"] * CRITIC_STEPS + ["generator"] and CRITIC_STEPS == 5
    assert set(terms) == {"distance", "penalty"}
    assert all(not synthetic.requires_grad and synthetic.shape == data.features.shape for synthetic in seen)
    assert len({synthetic.sum().item() for synthetic in seen}) == CRITIC_STEPS

    torch.set_rng_state(state)  # the draws of the critic's updates, then z of the generator's
    torch.randn(CRITIC_STEPS * len(data), 6)
    for _ in range(CRITIC_STEPS):
        torch.rand(len(data), 1)
    z = torch.randn(len(data), 6)
    after = {name: p.detach().clone() for name, p in gan.generator.named_parameters()}
    gan.generator.load_state_dict(before)
    gan.generator.zero_grad()
    synthetic = gan.generator(z, data.labels, classes)
    (-gan.critic(torch.cat([synthetic, condition], 1)).sum() / len(data)).backward()
    for name, parameter in gan.generator.named_parameters():
        assert torch.allclose(after[name], before[name] - parameter.grad, atol=1e-7), name


def test_optimisers_of_the_gan(miniclip_backbone):
    gan = WGAN(FeatureGenerator(miniclip_backbone, 6, 12), miniclip_backbone, 12)
    optimizers = gan.optimizers(ship_options(LR=0.005, WEIGHT_DECAY=0.03))
    for optimizer, module in zip(optimizers, (gan.critic, gan.generator), strict=True):
        (group,) = optimizer.param_groups
        assert isinstance(optimizer, torch.optim.AdamW)
        assert (group["lr"], group["weight_decay"], group["betas"]) == (0.005, 0.03, BETAS)
        assert [id(p) for p in group["params"]] == [id(p) for p in module.parameters()]


# ---- one loop for all


def test_the_loop_trains_the_vae_as_written_out(miniclip_backbone, tmp_path):
    """Bit for bit: the same initial draw, batches, noise and updates as a loop without a framework."""
    job = pretraining(miniclip_backbone, tmp_path)
    framework, terms, final = job.run()
    found, options = framework.generator, job.options
    seed_all(1, "generator", "init")
    made = PromptGenerator(miniclip_backbone, options.N_CTX, 6, 12)
    vae = VAE(made, miniclip_backbone.embed_dim, 12, options.KL_WEIGHT)
    optimizer = torch.optim.AdamW(vae.parameters(), lr=options.LR, weight_decay=options.WEIGHT_DECAY, fused=True)
    for epoch in range(options.EPOCHS):
        seed_all(1, "generator", epoch)
        for batch in FeatureLoader(job.trainer.train_set, options.BATCH_SIZE, drop_last=False):
            loss, _ = vae.loss(batch["features"], batch["label"], job.classes)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
    expected = made.state_dict()
    assert found.state_dict().keys() == expected.keys()
    assert all(torch.equal(value, expected[name]) for name, value in found.state_dict().items())
    assert terms.keys() == {"reconstruction", "kl"} and final["history"][-1] == terms


def test_a_loss_that_is_not_finite_stops_the_training(miniclip_backbone, tmp_path, monkeypatch):
    job = pretraining(miniclip_backbone, tmp_path, GENERATOR="mlp")
    original = FeatureLoader.__iter__
    drawn = []

    def poisoned(self):
        for batch in original(self):
            drawn.append(batch)
            yield {**batch, "features": batch["features"] * (float("nan") if len(drawn) == 4 else 1)}

    monkeypatch.setattr(FeatureLoader, "__iter__", poisoned)
    with pytest.raises(UserError, match=r"generator: .* is not finite at epoch 2.*TRAINER.SHIP.LR"):
        job.run()
    kept = torch.load(tmp_path / "generator/generator-rolling.pth.tar", weights_only=True)
    assert kept["epoch"] == 1 and all(torch.isfinite(value).all() for value in kept["state_dict"].values())
