"""SHIP's generators without pretraining, shift and gaussian: by hand, saved, loaded, and as runs."""

import pytest
import torch
import torch.nn.functional as F
from dassl.utils import UserError
from plain import hand_written, unit
from runs import argv, log, results, ship_options
from tiny_data import NAMES

import train
from trainers.core.data import FeatureSet
from trainers.core.gaussian import shrunk_covariance
from trainers.core.model.prompts import ClassTokens
from trainers.generative.build import load_framework
from trainers.generative.training_free import GaussianGenerator, ShiftGenerator

TEMPLATE = "a sketch of a {}."
KINDS = ["shift", "gaussian"]
GENERATOR = "TRAINER.SHIP.GENERATOR"


def two_views():
    """Unit features of eight images, two views each."""
    return FeatureSet(unit(16, 256), torch.arange(0, 17, 2), torch.arange(8) % 3)


def image_means(found, classes=3):
    images = F.normalize(found.features.view(len(found), 2, -1).sum(1), dim=-1)
    return images, torch.stack([images[found.labels == label].mean(0) for label in range(classes)])


def test_shift_by_hand(miniclip_backbone):
    found, made = two_views(), ShiftGenerator(miniclip_backbone, [TEMPLATE])
    made.fit(found, ClassTokens(NAMES[:3], miniclip_backbone))
    _, means = image_means(found)
    offset = means.mean(0) - hand_written(miniclip_backbone, NAMES[:3], TEMPLATE).mean(0)
    z = torch.tensor([[-9.0], [-0.05], [0.05], [9.0]])  # of 16 views the first, the 8th, the 9th, the last
    x = made(z, torch.tensor([0, 1, 1, 0]), ClassTokens(NAMES[3:5], miniclip_backbone))
    centres = F.normalize(hand_written(miniclip_backbone, NAMES[3:5], TEMPLATE) + offset, dim=-1)
    for row, (label, view) in zip(x, [(0, 0), (1, 7), (1, 8), (0, 15)]):
        residual = found.features[view] - means[found.labels[view // 2]]
        assert torch.allclose(row, F.normalize(centres[label] + residual, dim=0), atol=1e-5)


def test_gaussian_by_hand(miniclip_backbone):
    found, made = two_views(), GaussianGenerator(miniclip_backbone, [TEMPLATE])
    made.fit(found, ClassTokens(NAMES[:3], miniclip_backbone))
    images, means = image_means(found)
    covariance = shrunk_covariance(images - means[found.labels])
    assert torch.allclose(made.factor.double() @ made.factor.double().t(), covariance, atol=1e-6)
    assert made.latent_dim == 256 and not made.factor.triu(1).any()
    new = ClassTokens(NAMES[3:5], miniclip_backbone)
    z, labels = torch.randn(2, 256), torch.tensor([1, 0])
    text = hand_written(miniclip_backbone, NAMES[3:5], TEMPLATE)
    centres = (images.sum(0) + 16 * text) / (8 + 16)  # fewer than 64 images: all of them
    expected = F.normalize(centres[labels] + (made.factor @ z.t()).t(), dim=-1)
    assert torch.allclose(made(z, labels, new), expected, atol=1e-5)


@pytest.fixture(scope="module", params=KINDS)
def run(request, tiny_bank, tmp_path_factory):
    out = tmp_path_factory.mktemp("run") / "fewshot/caltech101/shots_4/CoOp_SHIP/miniclip/seed1"
    train.main(argv(tiny_bank, out, "CoOp_SHIP", GENERATOR, request.param, "TRAINER.SHIP.EPOCHS", "50"))
    return request.param, out


def test_nothing_is_pretrained_and_the_method_sees_synthetic_features(run):
    found = results(run[1])
    assert {"base", "new", "H", "all"} <= set(found["metrics"]) and "SHIP generator" not in log(run[1])
    assert found["extra"]["generator"].keys() == {"spread_real", "spread_synthetic"}
    assert 0.5 < found["extra"]["generator"]["spread_synthetic"] / found["extra"]["generator"]["spread_real"] < 2
    assert torch.load(run[1] / "prompt_learner/model.pth.tar-3", weights_only=True)["classnames"] == NAMES


def test_it_is_loaded_as_it_was_saved(run, miniclip_backbone, tiny_bank, tmp_path):
    options = ship_options(GENERATOR=run[0])
    first, second = (load_framework(str(run[1]), options, miniclip_backbone, "cpu")[0].generator for _ in range(2))
    z, classes = torch.randn(5, first.latent_dim), ClassTokens(NAMES[4:6], miniclip_backbone)
    assert torch.equal(*(made(z, torch.tensor([0, 1, 1, 0, 1]), classes) for made in (first, second)))
    assert first.templates == ["a photo of a {}."] and all(
        not value.requires_grad for value in first.state_dict().values()
    )
    train.main(argv(tiny_bank, tmp_path, "CoOp_SHIP", GENERATOR, run[0], "TRAINER.SHIP.INIT_FROM", run[1]))
    assert results(tmp_path)["metrics"] == results(run[1])["metrics"]  # the draws after the generator are the same
    options.GENERATOR = "clip"
    with pytest.raises(UserError, match=f"GENERATOR {run[0]}"):
        load_framework(str(run[1]), options, miniclip_backbone, "cpu")


def test_one_image_of_a_class_has_no_covariance(tiny_bank, tmp_path):
    one = ["DATASET.NUM_SHOTS", "1", "OPTIM.MAX_EPOCH", "1"]
    with pytest.raises(UserError, match="every class has one image.*use shift"):
        train.main(argv(tiny_bank, tmp_path, "CoOp_SHIP", GENERATOR, "gaussian", *one))
