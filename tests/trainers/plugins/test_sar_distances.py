"""SAR's distance by correlation."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from trainers.plugins.sar import distance


def test_pearson_is_one_less_the_correlation_of_all_pairs():
    draw = torch.Generator().manual_seed(0)
    t, t0 = (F.normalize(torch.randn(6, 9, generator=draw).double(), dim=1).requires_grad_() for _ in range(2))
    pairs = np.triu_indices(6, 1)
    s, s0 = ((unit @ unit.t()).detach().numpy()[pairs] for unit in (t, t0))
    assert distance("pearson", t, t0, 1, 1).item() == pytest.approx(1 - np.corrcoef(s, s0)[0, 1], abs=1e-12)
    assert distance("pearson", t0, t0, 1, 1).item() == pytest.approx(0, abs=1e-12)
    distance("pearson", t, t0, 1, 1).backward()
    assert t.grad.norm() > 0
