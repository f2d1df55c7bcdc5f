"""The KL weight that keeps a posterior from collapsing: its formulas by hand."""

import pytest
import torch
from plain import unit

from trainers.core.data import FeatureSet
from trainers.core.gaussian import eigenvalues
from trainers.generative.kl_weight import class_spectrum, keeping_weight


def test_the_weight_that_keeps_a_share_of_the_variance():
    spectrum = torch.tensor([0.5, 0.3, 0.1, 0.06, 0.04], dtype=torch.float64)
    assert keeping_weight(spectrum) == pytest.approx(2 * 0.1)  # 0.5 + 0.3 + 0.1 are 90%
    assert keeping_weight(spectrum, 0.91) == pytest.approx(2 * 0.06)
    assert keeping_weight(spectrum, 1.0) == pytest.approx(2 * 0.04)


def test_the_spectrum_within_classes_by_hand():
    images = FeatureSet(unit(9, 16), torch.arange(10), torch.arange(9) % 3)
    x = images.features.double()
    means = torch.stack([x[images.labels == label].mean(0) for label in range(3)])
    within = (x - means[images.labels]).t() @ (x - means[images.labels]) / 9
    found = class_spectrum(images, 3)
    assert torch.allclose(found, eigenvalues(within), atol=1e-9) and found.sum() == pytest.approx(within.trace().item())
