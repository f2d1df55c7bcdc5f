"""scripts/visualise.py on a run: the points are the right ones, and the pictures are there."""

import pytest
import torch
import visualise
from dassl.utils import UserError
from PIL import Image
from runs import argv, results

import train


def test_points_are_of_the_runs_own_draw_and_pictures_are_written(ship_run, tmp_path, monkeypatch):
    """Few-shot images of base classes, synthetic features of both halves, test images alone of the new classes."""
    seen, before = {}, {path: path.stat().st_mtime_ns for path in ship_run.rglob("*")}
    gather, draw_curves = visualise.gather, visualise.draw_curves

    def watched_gather(*arguments):
        seen.update(gather(*arguments))
        return dict(seen)

    def watched_curves(path, histories, title):
        draw_curves(path, histories, title)
        seen.update(histories)

    monkeypatch.setattr(visualise, "gather", watched_gather)
    monkeypatch.setattr(visualise, "draw_curves", watched_curves)
    visualise.main([str(ship_run), "--out", str(tmp_path / "pictures"), "--classes", "9", "--per-class", "6"])
    for name in ("pca.png", "tsne.png", "curves.png"):
        with Image.open(tmp_path / "pictures" / name) as image:
            image.verify()
    assert {path: path.stat().st_mtime_ns for path in ship_run.rglob("*")} == before
    generator, tuning = seen.pop("generator"), seen.pop("fine-tuning")
    counts = {"real base": 4 * 4, "synthetic base": 4 * 6, "synthetic new": 3 * 6, "real new": 3 * 4}
    assert {name: len(features) for name, (features, _) in seen.items()} == counts
    assert all(torch.allclose(features.norm(dim=1), torch.ones(1), atol=1e-3) for features, _ in seen.values())
    assert list(dict.fromkeys(seen["synthetic new"][1])) == ["sunflower", "pizza", "umbrella"]
    assert set(seen["real new"][1]) == set(seen["synthetic new"][1])
    assert len(generator) == len(tuning) == 3 and set(tuning[0]) == {"loss", "acc"}
    last = results(ship_run)["extra"]["generator"]
    assert {name: last[name] for name in ("reconstruction", "kl")} == pytest.approx(generator[-1])


def test_pca_is_not_fitted_to_unseen_images():
    torch.manual_seed(0)
    kinds = ("synthetic base", "real base", "synthetic new")
    points = {kind: (torch.randn(12, 5), ["a"] * 12) for kind in kinds}
    unseen = torch.randn(12, 5)
    near, far = (visualise.project({**points, "real new": (scale * unseen, [])}, "pca")[0] for scale in (1.0, 100.0))
    assert near["real base"] == pytest.approx(far["real base"]) and near["real new"] != pytest.approx(far["real new"])


def test_a_run_without_a_generator(tiny_bank, tmp_path):
    train.main(argv(tiny_bank, tmp_path / "run", "CoOp", "OPTIM.MAX_EPOCH", "1"))
    with pytest.raises(UserError, match="no generator.pth.tar"):
        visualise.main([str(tmp_path / "run"), "--out", str(tmp_path / "pictures")])
