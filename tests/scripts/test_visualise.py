"""scripts/visualise.py on a run: the points are the right ones, and the pictures are there."""

import pytest
import torch
from dassl.utils import UserError
from PIL import Image
from runs import argv, results, train_killed_before_epoch


def test_pictures_are_written_and_the_run_is_not_touched(ship_run, tmp_path, capsys):
    import visualise

    before = {path: path.stat().st_mtime_ns for path in ship_run.rglob("*")}
    visualise.main([str(ship_run), "--out", str(tmp_path / "pictures"), "--classes", "3", "--per-class", "6"])
    out = capsys.readouterr().out
    for name in ("pca.png", "tsne.png", "curves.png"):
        assert f"picture: {tmp_path / 'pictures' / name}" in out
        with Image.open(tmp_path / "pictures" / name) as image:
            image.verify()
    assert {path: path.stat().st_mtime_ns for path in ship_run.rglob("*")} == before


def test_points_are_of_the_runs_own_draw(ship_run, tmp_path, monkeypatch):
    """Few-shot features of base classes, synthetic ones of both halves, and of the new classes' images the test set
    alone."""
    import visualise

    seen = {}
    monkeypatch.setattr(visualise, "draw_features", lambda path, points, method, title: seen.update(points))
    monkeypatch.setattr(
        visualise,
        "draw_curves",
        lambda path, generator, training, title: seen.update(generator=generator, training=training),
    )
    visualise.main([str(ship_run), "--out", str(tmp_path), "--classes", "9", "--per-class", "6"])
    assert len(seen["real base"].features) == 4 * 4 and seen["real base"].labels.unique().tolist() == [0, 1, 2, 3]
    assert len(seen["synthetic base"].features) == 4 * 6 and len(seen["synthetic new"].features) == 3 * 6
    assert seen["synthetic new"].names == ["sunflower", "pizza", "umbrella"]
    assert len(seen["real new"].features) == 3 * 4  # four test images each
    for name in ("real base", "synthetic base", "synthetic new", "real new"):
        assert torch.allclose(seen[name].features.norm(dim=1), torch.ones(len(seen[name].features)), atol=1e-3)
    assert len(seen["generator"]) == 3 and set(seen["generator"][0]) == {"reconstruction", "kl"}
    assert len(seen["training"]) == 3 and set(seen["training"][0]) == {"loss", "acc"}
    last = {
        name: value for name, value in results(ship_run)["extra"]["generator"].items() if name in seen["generator"][-1]
    }
    assert last == pytest.approx(seen["generator"][-1])


def test_pca_is_not_fitted_to_unseen_images():
    import visualise

    torch.manual_seed(0)
    names = [str(i) for i in range(3)]
    points = {
        kind: visualise.Points(torch.randn(12, 5), torch.arange(12) % 3, names)
        for kind in ("real base", "synthetic base", "synthetic new")
    }
    where = []
    for scale in (1.0, 100.0):
        unseen = visualise.Points(scale * torch.randn(12, 5), torch.arange(12) % 3, names)
        positions, title = visualise.project({**points, "real new": unseen}, "pca")
        where.append(positions["real base"])
        assert positions["real new"].shape == (12, 2) and "PCA" in title
    assert torch.allclose(where[0], where[1])


def test_the_history_survives_a_kill(tiny_bank, tmp_path, monkeypatch, ship_run):
    """Each epoch's mean loss is in the checkpoint, also that of epochs before a kill."""
    import train

    train_killed_before_epoch(monkeypatch, 2, argv(tiny_bank, tmp_path, "CoOp_SHIP"))
    train.main(argv(tiny_bank, tmp_path, "CoOp_SHIP"))
    cut, whole = (
        torch.load(folder / "prompt_learner/model.pth.tar-3", weights_only=True) for folder in (tmp_path, ship_run)
    )
    assert cut["history"] == whole["history"] and len(whole["history"]) == 3
    assert torch.equal(cut["state_dict"]["ctx"], whole["state_dict"]["ctx"])


def test_a_run_without_a_generator(tiny_bank, tmp_path):
    import visualise

    import train

    train.main(argv(tiny_bank, tmp_path / "run", "CoOp", "OPTIM.MAX_EPOCH", "1"))
    with pytest.raises(UserError, match="CoOp, which has no generator"):
        visualise.main([str(tmp_path / "run"), "--out", str(tmp_path / "pictures")])
    with pytest.raises(UserError, match="no generator.pth.tar"):
        import interpret

        interpret.main([str(tmp_path / "run"), "--bank", "dog"])
