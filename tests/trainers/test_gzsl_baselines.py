"""f-VAEGAN, TF-VAEGAN and f-CLSWGAN: losses against the formulas written out, what an update changes, and heads."""

import pytest
import torch
from dassl.config import get_cfg_default
from runs import Recorded, argv, results
from tiny_clip import tiny_clip
from tiny_data import NAMES, make_bank
from torch import nn

import trainers
from trainers.core.data import FeatureSet
from trainers.core.files import ClassesUnsupported
from trainers.core.model.prompts import ClassTokens
from trainers.fclswgan import CLSWGAN
from trainers.fvaegan import VAEGAN, Classifier, Scale
from trainers.tfvaegan import TFVAEGAN, WithHidden, attribute_loss

DIM = 8  # of the tiny backbone's features
SECTIONS = {VAEGAN: "F_VAEGAN", TFVAEGAN: "TF_VAEGAN", CLSWGAN: "F_CLSWGAN"}


@pytest.fixture(scope="module")
def backbone():
    return tiny_clip(width=16, layers=1, heads=1, embed_dim=DIM)


@pytest.fixture(scope="module")
def classes(backbone):
    return ClassTokens(NAMES[:3], backbone)


def made(kind, backbone, **changes):
    """A framework whose weights are far from their small initial values, so that every term matters, and a batch for
    it."""
    torch.manual_seed(0)
    cfg = get_cfg_default()
    trainers.extend_cfg(cfg)
    options = cfg.TRAINER[SECTIONS[kind]]
    options.update({"HIDDEN_DIM": 6, "LR": 1e-2, **changes})
    features, labels = torch.nn.functional.normalize(torch.randn(5, DIM), dim=-1), torch.tensor([0, 2, 1, 1, 0])
    framework = kind(backbone, options, FeatureSet(features, torch.arange(6), labels))
    for parameter in framework.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    return framework, features, labels


def linear(x, layer):
    return x @ layer.weight.t() + layer.bias


def leaky(x):
    return torch.where(x > 0, x, 0.2 * x)


def test_scale_is_min_max_by_dimension():
    features = torch.tensor([[0.0, 5.0, -1.0], [4.0, 5.0, 1.0], [1.0, 5.0, 0.0]])
    scale = Scale(features)
    assert scale(features).tolist() == [[0, 0, 0], [1, 0, 1], [0.25, 0, 0.5]]  # a dimension without spread stays finite
    assert torch.equal(scale.inverse(scale(features)), features)


def test_the_generators_loss_is_vae_and_critic(backbone, classes):
    framework, features, labels = made(VAEGAN, backbone, GAN_WEIGHT=7.0)
    generator, x = framework.generator, framework.generator.scale(features)
    attributes = generator.class_features(classes)[labels]

    def generated(z):
        hidden = leaky(linear(torch.cat([z, attributes], 1), generator.hidden[0]))
        return torch.sigmoid(linear(hidden, generator.output[0]))

    torch.manual_seed(3)
    loss, terms, synthetic = framework.generator_loss(x, attributes, labels)
    torch.manual_seed(3)
    noise, prior = torch.randn(5, DIM), torch.randn(5, DIM)
    e1, e2, e3 = (framework.encoder[i] for i in (0, 2, 4))
    mu, log_var = linear(leaky(linear(leaky(linear(torch.cat([x, attributes], 1), e1)), e2)), e3).chunk(2, 1)
    again, fake = generated(mu + (log_var / 2).exp() * noise), generated(prior)
    reconstruction = -(x * again.log() + (1 - x) * (1 - again).log()).sum() / 5
    kl = 0.5 * (mu**2 + log_var.exp() - log_var - 1).sum() / 5
    assert torch.allclose(synthetic, fake)
    assert terms["reconstruction"].item() == pytest.approx(reconstruction.item(), rel=1e-4)
    assert terms["kl"].item() == pytest.approx(kl.item(), rel=1e-4)
    expected = reconstruction + kl - 7.0 * framework.score(fake, attributes).mean()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-4)
    in_their_scale = generator.scale.low + fake * generator.scale.span
    assert torch.allclose(generator(prior, labels, classes), in_their_scale, atol=1e-6)


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
    again = torch.nn.functional.normalize(linear(h, generator.decoder.output), dim=-1)
    for generator.refined, expected in ((False, first), (True, refined)):
        assert torch.allclose(generator.scaled(z, attributes), expected, atol=1e-6)
    assert torch.allclose(generator.decoder(first), again, atol=1e-6)
    generator.scaled(z, attributes).sum().backward()
    assert generator.decoder.hidden[0].weight.grad is None and generator.feedback[0].weight.grad is not None


@pytest.mark.parametrize(
    "kind, parts, terms",
    [
        (VAEGAN, {"encoder"}, {"reconstruction", "kl"}),
        (TFVAEGAN, {"encoder", "generator.decoder", "generator.feedback"}, {"reconstruction", "kl", "semantic"}),
        (CLSWGAN, set(), {"classification"}),  # its classifier of the seen classes stays as it is
    ],
)
def test_a_step_trains_every_part_and_nothing_of_the_backbone(backbone, classes, kind, parts, terms):
    framework, features, labels = made(kind, backbone)
    before = {name: value.clone() for name, value in framework.named_parameters()}
    frozen, optimizers = [value.clone() for value in backbone.parameters()], framework.optimizers(framework.options)
    found = framework.step(features, labels, classes, optimizers)
    assert found.keys() == {"distance", "penalty"} | terms and all(torch.isfinite(value) for value in found.values())
    changed = [name for name, value in framework.named_parameters() if not torch.equal(value, before[name])]
    changed = {".".join(name.split(".")[: 2 if name.startswith("generator") else 1]) for name in changed}
    assert changed == {"critic", "generator.hidden", "generator.output"} | parts
    assert all(torch.equal(old, new) for old, new in zip(frozen, backbone.parameters(), strict=True))
    betas = [[group["betas"] for group in optimizer.param_groups] for optimizer in optimizers]
    assert betas[0] == [(0.5, 0.999)] and betas[1][0] == (0.5, 0.999)
    assert betas[1][1:2] == [(0.9, 0.999)] * ("encoder" in parts)  # torch's own


def test_tf_vaegan_classifies_the_feature_and_the_decoders_hidden_layer(backbone):
    framework, features, _ = made(TFVAEGAN, backbone)
    decoder, scale = framework.generator.decoder, framework.generator.scale
    names = ["a", "b", "a"]  # equal names are told apart by position
    head = Classifier(backbone, names, scale, nn.Linear(DIM + 6, 3), WithHidden(decoder))
    x = (features - scale.low) / scale.span
    expected = linear(torch.cat([x, leaky(linear(x, decoder.hidden[0]))], 1), head.linear)
    assert torch.allclose(head(features), expected, atol=1e-6)
    assert torch.allclose(head.for_classes(["a", "a"])(features), expected[:, [0, 2]], atol=1e-6)
    with pytest.raises(ClassesUnsupported, match="'d'"):
        head.for_classes(["a", "d"])
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
