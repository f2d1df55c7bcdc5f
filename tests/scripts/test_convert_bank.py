"""scripts/convert_bank.py: features computed elsewhere become a bank that trains without the images."""

import json

import pytest
import torch
from dassl.utils import UserError
from safetensors.torch import save_file

IMAGES = ["b/2.jpg", "a/1.jpg", "a/0.jpg", "b/0.jpg", "a/3.jpg", "b/1.jpg", "a/2.jpg", "b/3.jpg"]
SPLIT = {
    part: [[f"{name}/{i}.jpg", label, name] for label, name in enumerate("ab") for i in numbers]
    for part, numbers in (("train", (0, 1)), ("val", (2,)), ("test", (3,)))
}


@pytest.fixture
def convert(tmp_path, miniclip_backbone):
    """convert(features=..., labels=..., header changes) runs the script on a Caltech101 of eight images -> the path of
    the bank."""
    import convert_bank

    (tmp_path / "caltech-101").mkdir()
    (tmp_path / "caltech-101/split_zhou_Caltech101.json").write_text(json.dumps(SPLIT))
    torch.manual_seed(0)
    features = torch.nn.functional.normalize(torch.randn(8, miniclip_backbone.embed_dim), dim=-1)

    def run(labels=None, features=features, **header):
        tensors = {"features": features, **({} if labels is None else {"labels": torch.tensor(labels)})}
        save_file(tensors, tmp_path / "features.safetensors", {"images": json.dumps(IMAGES), **header})
        out = tmp_path / "bank.safetensors"
        convert_bank.main(
            [
                str(tmp_path / "features.safetensors"),
                "--root",
                str(tmp_path),
                "--dataset",
                "caltech101",
                "--out",
                str(out),
            ]
        )
        return out

    run.features = features
    return run


def test_rows_go_to_their_images(convert, miniclip_backbone, capsys):
    from trainers.core.features.bank import read_bank

    tensors, header = read_bank(convert([9, 4, 4, 9, 4, 9, 4, 9], backbone_sha256=miniclip_backbone.weights_hash))
    assert json.loads(header["split"]) == SPLIT and header["dataset"] == "Caltech101"
    for part, items in SPLIT.items():
        expected = torch.stack([convert.features[IMAGES.index(path)] for path, _, _ in items])
        assert torch.equal(tensors[f"{part}.features"], expected.half())
    assert tensors["train.offsets"].tolist() == [0, 1, 2, 3, 4]
    assert "4 training, 2 validation, 2 test images" in capsys.readouterr().out


@pytest.mark.parametrize(
    "change, message",
    [
        ({"labels": [9, 4, 4, 9, 4, 4, 9, 9]}, "another order"),
        ({"backbone_sha256": "0" * 64}, "was made with weights 000000000000"),
        ({"images": json.dumps(IMAGES[:-1] + ["c/9.jpg"])}, "1 images of the split have no features, first b/3.jpg"),
        ({"images": json.dumps(IMAGES[:-1])}, "a row for each of the 7 images"),
        ({"images": "no list"}, "JSON list 'images'"),
        ({"features": torch.ones(8, 256)}, "unit norm"),
    ],
)
def test_features_that_do_not_fit_are_refused(convert, change, message):
    with pytest.raises(UserError, match=message):
        convert(**change)


def test_the_flowers_bank_has_the_proposed_splits(shared, tmp_path):
    """The real features of ../shared/data: 82 seen and 20 unseen classes; it needs no image."""
    import convert_bank
    from dassl.config import get_cfg_default
    from dassl.data.datasets import build_dataset

    import datasets  # noqa: F401
    import trainers

    features, out = shared / "data/banks/flo_miniclip.safetensors", tmp_path / "flo.safetensors"
    convert_bank.main([str(features), "--root", str(shared / "data"), "--dataset", "flo", "--out", str(out)])
    cfg = get_cfg_default()
    trainers.extend_cfg(cfg)
    cfg.DATASET.NAME, cfg.FEATURES.BANK = "FLO", str(out)
    flo = build_dataset(cfg)
    assert [len(part) for part in (flo.train_x, flo.test_seen, flo.test_unseen)] == [5631, 1403, 1155]
    assert len(flo.seen_classnames) == 82 and len(flo.unseen_classnames) == 20
