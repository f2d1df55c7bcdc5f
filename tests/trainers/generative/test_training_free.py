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
from trainers.generative.generator import GaussianGenerator, ShiftGenerator

TEMPLATE = "a sketch of a {}."
KINDS = ["shift", "gaussian"]
GENERATOR = "TRAINER.SHIP.GENERATOR"


def fitted(kind, backbone):
    """-> (a generator of eight images in three classes, two views each; their FeatureSet, their means over views, and
    the means of the classes)"""
    found = FeatureSet(unit(16, 256), torch.arange(0, 17, 2), torch.arange(8) % 3)
    images = F.normalize(found.features.view(8, 2, -1).sum(1), dim=-1)
    means = torch.stack([images[found.labels == label].mean(0) for label in range(3)])
    tensors = kind.fitted(found, hand_written(backbone, NAMES[:3], TEMPLATE))
    return kind(backbone, [TEMPLATE], tensors), found, images, means


def test_shift_by_hand(miniclip_backbone):
    made, found, _, means = fitted(ShiftGenerator, miniclip_backbone)
    offset = means.mean(0) - hand_written(miniclip_backbone, NAMES[:3], TEMPLATE).mean(0)
    z = torch.tensor([[-9.0], [-0.05], [0.05], [9.0]])  # of 16 views the first, the 8th, the 9th, the last
    x = made(z, torch.tensor([0, 1, 1, 0]), ClassTokens(NAMES[3:5], miniclip_backbone))
    centres = F.normalize(hand_written(miniclip_backbone, NAMES[3:5], TEMPLATE) + offset, dim=-1)
    for row, (label, view) in zip(x, [(0, 0), (1, 7), (1, 8), (0, 15)]):
        residual = found.features[view] - means[found.labels[view // 2]]
        assert torch.allclose(row, F.normalize(centres[label] + residual, dim=0), atol=1e-5)


def test_gaussian_by_hand(miniclip_backbone):
    made, found, images, means = fitted(GaussianGenerator, miniclip_backbone)
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
    assert {"base", "new", "H", "all"} <= set(found["metrics"]) and "generator: nothing to train" in log(run[1])
    assert torch.load(run[1] / "prompt_learner/model.pth.tar-3", weights_only=True)["classnames"] == NAMES


def test_it_is_loaded_as_it_was_saved(run, miniclip_backbone, tiny_bank, tmp_path):
    kind, folder = run
    generator = load_framework(str(folder), ship_options(GENERATOR=kind), miniclip_backbone, "cpu")[0].generator
    assert generator.templates == ["a photo of a {}."]
    train.main(argv(tiny_bank, tmp_path, "CoOp_SHIP", GENERATOR, kind, "TRAINER.SHIP.INIT_FROM", folder))
    assert results(tmp_path)["metrics"] == results(folder)["metrics"]  # the draws after the generator are the same
    with pytest.raises(UserError, match=f"GENERATOR {kind}"):
        load_framework(str(folder), ship_options(), miniclip_backbone, "cpu")


def test_one_image_of_a_class_has_no_covariance(tiny_bank, tmp_path):
    one = ["DATASET.NUM_SHOTS", "1", "OPTIM.MAX_EPOCH", "1"]
    with pytest.raises(UserError, match="every class has one image: use shift"):
        train.main(argv(tiny_bank, tmp_path, "CoOp_SHIP", GENERATOR, "gaussian", *one))
