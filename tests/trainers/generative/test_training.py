"""How generators are trained, saved and drawn from."""

from functools import partial
from types import SimpleNamespace

import pytest
import torch
from dassl.utils import UserError
from plain import unit
from runs import argv, results, ship_options
from tiny_data import NAMES
from yacs.config import CfgNode

import train
from trainers.core.data import FeatureLoader, FeatureSet
from trainers.core.model.prompts import ClassTokens
from trainers.core.predictor import Stopwatch
from trainers.core.randomness import seed_all
from trainers.generative.frameworks import PENALTY_WEIGHT, build_framework, critic_loss, load_framework
from trainers.generative.training import GeneratorTraining

SMALL = {"HIDDEN_DIM": 12, "LATENT_DIM": 6, "EPOCHS": 3, "BATCH_SIZE": 4}


def pretraining(backbone, directory, **changes):
    classes = ClassTokens(NAMES[:3], backbone, n_ctx=4)
    options = ship_options(**SMALL, **changes)
    cfg = CfgNode({"SEED": 1, "TRAIN": {"CHECKPOINT_SECONDS": 0.0}, "TRAINER": {"SHIP": options}})
    run = SimpleNamespace(cfg=cfg, backbone=backbone, output_dir=str(directory), identity={}, templates=[])
    run.train_set = FeatureSet(unit(10, backbone.embed_dim), torch.arange(11), torch.arange(10) % 3)
    run.watch, run.hides_bars, run.device = Stopwatch(), True, "cpu"
    build = partial(build_framework, options, backbone, options.KL_WEIGHT)
    return GeneratorTraining(build, run, "SHIP", classes, options.EPOCHS)


def descend(loss, optimizer):
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def vae_step(vae, x, labels, classes, optimizer):
    descend(vae.loss(x, labels, classes)[0], optimizer)


def gan_step(gan, x, labels, classes, of_critic, of_generator):
    """Five updates of the critic, each with new synthetic features, then one of the generator up the critic's score."""
    condition = gan.class_features(classes)[labels]
    synthetic = gan.generator(torch.randn(5 * len(x), 6), labels.repeat(5), classes).detach()
    for i in range(5):
        part = synthetic[i * len(x) : (i + 1) * len(x)]
        descend(critic_loss(gan.score, x, part, condition, PENALTY_WEIGHT)[0], of_critic)
    synthetic = gan.generator(torch.randn(len(x), 6), labels, classes)
    descend(-gan.critic(torch.cat([synthetic, condition], 1)).mean(), of_generator)


@pytest.mark.parametrize("framework", ["vae", "gan"])
def test_the_loop_trains_as_written_out(miniclip_backbone, tmp_path, framework):
    """Bit for bit: the same initial draw, batches, noise and updates as a loop without a framework."""
    job = pretraining(miniclip_backbone, tmp_path, FRAMEWORK=framework)
    found, terms, final = job.run()
    options = job.options
    seed_all(1, "generator", "init")
    expected = build_framework(options, miniclip_backbone, options.KL_WEIGHT)
    adamw = partial(torch.optim.AdamW, lr=options.LR, weight_decay=options.WEIGHT_DECAY, fused=True)
    step, optimizers = vae_step, [adamw(expected.parameters())]
    if framework == "gan":
        networks = expected.critic, expected.generator
        step, optimizers = gan_step, [adamw(network.parameters(), betas=(0.0, 0.9)) for network in networks]
    for epoch in range(options.EPOCHS):
        seed_all(1, "generator", epoch)
        for batch in FeatureLoader(job.trainer.train_set, options.BATCH_SIZE, drop_last=False):
            step(expected, batch["features"], batch["label"], job.classes, *optimizers)
    state = expected.state_dict()
    assert found.state_dict().keys() == state.keys()
    assert all(torch.equal(value, state[name]) for name, value in found.state_dict().items())
    assert final["history"][-1] == terms


def test_a_loss_that_is_not_finite_stops_the_training(miniclip_backbone, tmp_path, monkeypatch):
    job = pretraining(miniclip_backbone, tmp_path, GENERATOR="mlp")
    original, drawn = FeatureLoader.__iter__, []

    def poisoned(self):
        for batch in original(self):
            drawn.append(batch)
            yield {**batch, "features": batch["features"] * (float("nan") if len(drawn) == 4 else 1)}

    monkeypatch.setattr(FeatureLoader, "__iter__", poisoned)
    with pytest.raises(UserError, match=r"generator: .* is not finite at epoch 2.*TRAINER.SHIP.LR"):
        job.run()
    kept = torch.load(tmp_path / "generator/generator-rolling.pth.tar", weights_only=True)
    assert kept["epoch"] == 1 and all(torch.isfinite(value).all() for value in kept["state_dict"].values())


@pytest.mark.parametrize("kind, other", [("clip", {"N_CTX": 2}), ("shift", {}), ("gaussian", {})])
def test_a_generator_is_saved_and_loaded(tiny_bank, miniclip_backbone, tmp_path, kind, other):
    words = ["TRAINER.SHIP.GENERATOR", kind]
    train.main(argv(tiny_bank, tmp_path / "first", "CoOp_SHIP", *words))
    train.main(argv(tiny_bank, tmp_path / "second", "CoOp_SHIP", *words, "TRAINER.SHIP.INIT_FROM", tmp_path / "first"))
    # the draws after the generator are the same
    assert results(tmp_path / "second")["metrics"] == results(tmp_path / "first")["metrics"]
    with pytest.raises(UserError, match="was trained with other options; set TRAINER.SHIP"):
        load_framework(str(tmp_path / "first"), ship_options(**other), miniclip_backbone, "cpu")
    if kind == "gaussian":
        with pytest.raises(UserError, match="every class has one image"):
            train.main(argv(tiny_bank, tmp_path / "one", "CoOp_SHIP", *words, "DATASET.NUM_SHOTS", "1"))
