"""The feature banks in datasets/banks/: complete, small, and as accurate as MiniCLIP's README says."""

import random
from pathlib import Path

import pytest
import torch
from helpers.banks import read_bank

from trainers.core import ZeroshotHead

BANKS = Path(__file__).resolve().parent.parent / "datasets/banks"


@pytest.mark.parametrize(
    "name, counts, classes", [("caltech101", (4128, 1649, 2465), 100), ("eurosat", (2000, 400, 2000), 10)]
)
def test_counts_views_and_origin(name, counts, classes, miniclip_backbone):
    tensors, metadata = read_bank(BANKS / f"{name}_miniclip.safetensors")
    split = metadata["split"]
    assert tuple(len(split[part]) for part in ("train", "val", "test")) == counts
    assert len({item[1] for item in split["train"]}) == classes
    assert tensors["train.offsets"].diff().unique().tolist() == [4]
    for part in split:
        features = tensors[f"{part}.features"]
        assert features.shape[1] == 256 and features.dtype == torch.float16
        assert torch.allclose(features.float().norm(dim=1), torch.ones(len(features)), atol=2e-3)
    assert metadata["backbone_hash"] == miniclip_backbone.weights_hash
    assert (BANKS / f"{name}_miniclip.safetensors.sha256").is_file()


@torch.no_grad()
def test_zero_shot_equals_the_figures_of_miniclips_readme(miniclip_backbone):
    """README: 57.40% on the first 2000 of the shuffled Caltech101 test set with "a photo of a {}.", 57.45% with the
    bare name."""
    tensors, metadata = read_bank(BANKS / "caltech101_miniclip.safetensors")
    test = metadata["split"]["test"]
    names = [name for _, name in sorted({(label, name) for _, label, name in test})]
    order = list(range(len(test)))
    random.Random(0).shuffle(order)
    order = order[:2000]
    for template, expected in (("a photo of a {}.", 57.40), ("{}", 57.45)):
        head = ZeroshotHead(miniclip_backbone, [template], names)
        predicted = head(tensors["test.features"][order].float()).argmax(1)
        right = predicted == torch.tensor([test[i][1] for i in order])
        assert right.double().mean().item() * 100 == pytest.approx(expected, abs=0.3)
