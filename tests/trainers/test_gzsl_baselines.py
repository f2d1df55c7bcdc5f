"""f-VAEGAN and TF-VAEGAN: their losses against the formulas written out, what each update changes, their heads, and
exact resuming."""

import math

import pytest
import torch
from dassl.config import get_cfg_default
from runs import Recorded, argv, results
from tiny_clip import tiny_clip
from tiny_data import NAMES, make_bank
from torch import nn

import trainers
from trainers.core.files import ClassesUnsupported
from trainers.core.model.prompts import ClassTokens
from trainers.fvaegan import VAEGAN, Classifier, Scale
from trainers.tfvaegan import TFVAEGAN, WithHidden, attribute_loss

DIM = 8  # of the tiny backbone's features


@pytest.fixture(scope="module")
def backbone():
    return tiny_clip(width=16, layers=1, heads=1, embed_dim=DIM)


@pytest.fixture(scope="module")
def classes(backbone):
    return ClassTokens(NAMES[:3], backbone)


def options(section, **changes):
    cfg = get_cfg_default()
    trainers.extend_cfg(cfg)
    node = cfg.TRAINER[section]
    for key, value in {"HIDDEN_DIM": 6, "LR": 1e-2, **changes}.items():
        node[key] = value
    return node


def made(kind, backbone, **changes):
    """A framework whose weights are far from their small initial values, so that every term matters, and a batch for
    it."""
    torch.manual_seed(0)
    features = torch.nn.functional.normalize(torch.randn(5, DIM), dim=-1)
    framework = kind(backbone, options("TF_VAEGAN" if kind is TFVAEGAN else "F_VAEGAN", **changes), features)
    for parameter in framework.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    return framework, features, torch.tensor([0, 2, 1, 1, 0])


def linear(x, layer):
    return x @ layer.weight.t() + layer.bias


def leaky(x):
    return torch.where(x > 0, x, 0.2 * x)


def test_scale_is_min_max_by_dimension():
    features = torch.tensor([[0.0, 5.0, -1.0], [4.0, 5.0, 1.0], [1.0, 5.0, 0.0]])
    scale = Scale(features)
    assert scale(features).tolist() == [[0, 0, 0], [1, 0, 1], [0.25, 0, 0.5]]  # a dimension without spread stays finite
    assert torch.equal(scale.inverse(scale(features)), features)


def test_the_generator_is_one_hidden_layer_on_latent_and_attributes(backbone, classes):
    framework, _, labels = made(VAEGAN, backbone)
    generator, z = framework.generator, torch.randn(5, DIM)
    attributes = generator.class_features(classes)[labels]
    hidden = leaky(linear(torch.cat([z, attributes], 1), generator.hidden[0]))
    scaled = 1 / (1 + (-linear(hidden, generator.output[0])).exp())
    assert torch.allclose(generator.scaled(z, attributes), scaled, atol=1e-6)
    assert torch.allclose(generator(z, labels, classes), generator.scale.low + scaled * generator.scale.span, atol=1e-6)


def test_the_critics_loss_is_wgan_with_gradient_penalty(backbone, classes):
    """D is piecewise linear: its gradient in x is W1^T (slopes * w2), by hand for each sample."""
    framework, features, labels = made(VAEGAN, backbone, PENALTY_WEIGHT=3.0)
    x, fake = framework.generator.scale(features), torch.rand(5, DIM)
    attributes = framework.generator.class_features(classes)[labels]
    first, second = framework.critic[0], framework.critic[2]

    def score(x):
        return linear(leaky(linear(torch.cat([x, attributes], 1), first)), second).squeeze(1)

    torch.manual_seed(3)
    loss, terms = framework.critic_loss(x, fake, attributes)
    torch.manual_seed(3)
    share = torch.rand(5, 1)
    before = linear(torch.cat([share * x + (1 - share) * fake, attributes], 1), first)
    slopes = torch.where(before > 0, torch.ones(()), torch.tensor(0.2)) * second.weight
    norms = (slopes @ first.weight[:, :DIM]).square().sum(1).sqrt().tolist()
    penalty = sum((norm - 1) ** 2 for norm in norms) / 5
    distance = (score(x).mean() - score(fake).mean()).item()
    assert terms == {"distance": pytest.approx(distance, abs=1e-5), "penalty": pytest.approx(penalty, rel=1e-4)}
    assert loss.item() == pytest.approx(3.0 * penalty - distance, rel=1e-4)


def test_the_generators_loss_is_vae_and_critic(backbone, classes):
    framework, features, labels = made(VAEGAN, backbone, GAN_WEIGHT=7.0)
    x, attributes = framework.generator.scale(features), framework.generator.class_features(classes)[labels]
    torch.manual_seed(3)
    loss, terms, synthetic = framework.generator_loss(x, attributes)
    torch.manual_seed(3)
    noise, prior = torch.randn(5, DIM), torch.randn(5, DIM)
    e1, e2, e3 = (framework.encoder[i] for i in (0, 2, 4))
    mu, log_var = linear(leaky(linear(leaky(linear(torch.cat([x, attributes], 1), e1)), e2)), e3).chunk(2, 1)
    again = framework.generator.scaled(mu + (log_var / 2).exp() * noise, attributes)
    reconstruction = -(x * again.log() + (1 - x) * (1 - again).log()).sum() / 5
    kl = 0.5 * (mu**2 + log_var.exp() - log_var - 1).sum() / 5
    fake = framework.generator.scaled(prior, attributes)
    assert torch.allclose(synthetic, fake)
    assert terms == {
        "reconstruction": pytest.approx(reconstruction.item(), rel=1e-4),
        "kl": pytest.approx(kl.item(), rel=1e-4),
    }
    expected = reconstruction + kl - 7.0 * framework.score(fake, attributes).mean()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-4)


def test_attribute_loss_by_hand():
    """Errors (3, 4): squares (9, 16), over the error's norm 5; 9 * 3 + 16 * 4 = 91. An exact row counts nothing."""
    found, wanted = torch.tensor([[3.0, 4.0], [1.0, 1.0]]), torch.tensor([[0.0, 0.0], [1.0, 1.0]])
    assert attribute_loss(found, wanted).item() == pytest.approx(91 / 5 / 2)


def test_feedback_adds_the_decoders_hidden_layer_to_the_generators(backbone, classes):
    framework, _, labels = made(TFVAEGAN, backbone, FEEDBACK=0.5)
    generator, z = framework.generator, torch.randn(5, DIM)
    attributes = generator.class_features(classes)[labels]
    hidden = leaky(linear(torch.cat([z, attributes], 1), generator.hidden[0]))
    first = torch.sigmoid(linear(hidden, generator.output[0]))
    h = leaky(linear(first, generator.decoder.hidden[0]))
    feedback = leaky(linear(leaky(linear(h, generator.feedback[0])), generator.feedback[2]))
    refined = torch.sigmoid(linear(hidden + 0.5 * feedback, generator.output[0]))
    assert torch.allclose(generator.first(z, attributes), first, atol=1e-6)
    assert torch.allclose(generator.scaled(z, attributes), refined, atol=1e-6)
    attributes_again = linear(h, generator.decoder.output)
    assert torch.allclose(
        generator.decoder(first), attributes_again / attributes_again.norm(dim=1, keepdim=True), atol=1e-6
    )
    generator.scaled(z, attributes).sum().backward()
    assert generator.decoder.hidden[0].weight.grad is None and generator.feedback[0].weight.grad is not None


@pytest.mark.parametrize("kind", [VAEGAN, TFVAEGAN])
def test_a_step_trains_every_part_and_nothing_of_the_backbone(backbone, classes, kind):
    framework, features, labels = made(kind, backbone)
    before = {name: value.clone() for name, value in framework.named_parameters()}
    frozen = [value.clone() for value in backbone.parameters()]
    terms = framework.step(features, labels, classes, framework.optimizers(framework.options))
    assert {"distance", "penalty", "reconstruction", "kl"} <= terms.keys() and all(
        math.isfinite(value) for value in terms.values()
    )
    changed = [name for name, value in framework.named_parameters() if not torch.equal(value, before[name])]
    changed = {".".join(name.split(".")[: 2 if name.startswith("generator") else 1]) for name in changed}
    parts = {"encoder", "critic", "generator.hidden", "generator.output"}
    assert changed == parts | ({"generator.decoder", "generator.feedback"} if kind is TFVAEGAN else set())
    assert all(torch.equal(old, new) for old, new in zip(frozen, backbone.parameters(), strict=True))


def test_the_classifier_over_some_of_its_classes_has_their_rows(backbone):
    torch.manual_seed(0)
    head = Classifier(backbone, ["a", "b", "c"], Scale(torch.randn(4, DIM)), nn.Linear(DIM, 3))
    features = torch.randn(6, DIM)
    assert torch.allclose(head.for_classes(["c", "a"])(features), head(features)[:, [2, 0]])
    with pytest.raises(ClassesUnsupported, match="'d'"):
        head.for_classes(["a", "d"])
    twice = Classifier(backbone, ["a", "b", "a"], Scale(torch.randn(4, DIM)), nn.Linear(DIM, 3))
    assert torch.allclose(twice.for_classes(["a", "a"])(features), twice(features)[:, [0, 2]])


def test_tf_vaegan_classifies_the_feature_and_the_decoders_hidden_layer(backbone):
    framework, features, _ = made(TFVAEGAN, backbone)
    decoder, scale = framework.generator.decoder, framework.generator.scale
    head = Classifier(backbone, ["a", "b"], scale, nn.Linear(DIM + 6, 2), WithHidden(decoder))
    x = (features - scale.low) / scale.span
    expected = linear(torch.cat([x, leaky(linear(x, decoder.hidden[0]))], 1), head.linear)
    assert torch.allclose(head(features), expected, atol=1e-6)
    assert {name for name, value in head.named_parameters() if value.requires_grad} == {"linear.weight", "linear.bias"}


def test_the_classifier_sees_real_seen_and_synthetic_unseen_features(miniclip_backbone, tmp_path, monkeypatch):
    bank = make_bank(tmp_path / "bank.safetensors", miniclip_backbone, train=8, val=0)
    small = "DATASET.NUM_SHOTS -1 OPTIM.MAX_EPOCH 1 DATALOADER.TRAIN_X.BATCH_SIZE 1 TRAINER.F_VAEGAN.SYNTHETIC 4"
    run = Recorded(monkeypatch, argv(bank, tmp_path / "out", "f_VAEGAN", *small.split(), task="gzsl"))
    counts = torch.cat([step.labels for step in run.steps]).bincount().tolist()
    assert counts == [8] * 4 + [4] * 3  # base images, then synthetic features of the new names
    found = results(tmp_path / "out")
    assert run.trainer.trained_classnames == NAMES and set(found["metrics"]) >= {"seen", "unseen", "H"}
    assert found["extra"]["generator"]["reconstruction"] > 0


def test_the_encoder_has_betas_of_its_own(backbone):
    """The public code leaves them at torch's default; generator and critic have 0.5."""
    framework, _, _ = made(VAEGAN, backbone)
    critic, trained = framework.optimizers(framework.options)
    encoder = {id(p) for p in framework.encoder.parameters()}
    betas = {id(p): group["betas"] for group in trained.param_groups for p in group["params"]}
    assert {betas[i] for i in encoder} == {(0.9, 0.999)}
    assert {betas[i] for i in betas.keys() - encoder} == {(0.5, 0.999)} == {critic.param_groups[0]["betas"]}
