"""scripts/visualise.py on a run: the points are the right ones, and the pictures are there."""

import numpy as np
import pandas
import pytest
import visualise
from PIL import Image
from runs import results


def test_points_are_of_the_runs_own_draw_and_pictures_are_written(ship_run, tmp_path, monkeypatch):
    """Few-shot images of base classes, synthetic features of both halves, test images alone of the new classes."""
    seen, before = {}, {path: path.stat().st_mtime_ns for path in ship_run.rglob("*")}
    draw_features, draw_curves = visualise.draw_features, visualise.draw_curves
    monkeypatch.setattr(
        visualise, "draw_features", lambda *given: seen.update(points=given[1]) or draw_features(*given)
    )
    monkeypatch.setattr(visualise, "draw_curves", lambda *given: seen.update(found=given[1]) or draw_curves(*given))
    visualise.main([str(ship_run), "--out", str(tmp_path / "pictures"), "--classes", "9", "--per-class", "6"])
    for name in ("pca.png", "tsne.png", "curves.png"):
        with Image.open(tmp_path / "pictures" / name) as image:
            image.verify()
    assert {path: path.stat().st_mtime_ns for path in ship_run.rglob("*")} == before
    points, histories = seen["points"], {stage: state["history"] for stage, state in seen["found"].items()}
    counts = {("base", "real"): 16, ("base", "synthetic"): 24, ("new", "synthetic"): 18, ("new", "real"): 12}
    assert points.groupby(["side", "kind"]).size().to_dict() == counts
    assert np.linalg.norm(np.stack(points["feature"]), axis=1) == pytest.approx(1.0, abs=1e-3)
    for kind in ("synthetic", "real"):
        names = points[(points["side"] == "new") & (points["kind"] == kind)]["name"]
        assert {*names} == {"sunflower", "pizza", "umbrella"}
    assert len(histories["generator"]) == len(histories["fine-tuning"]) == 3
    last = results(ship_run)["extra"]["generator"]
    assert {name: last[name] for name in ("reconstruction", "kl")} == pytest.approx(histories["generator"][-1])


def test_pca_is_not_fitted_to_unseen_images():
    rows = np.random.default_rng(0).normal(size=(4, 5))
    kinds = pandas.DataFrame(
        {"side": ["base", "base", "new", "new"], "kind": ["synthetic", "real", "synthetic", "real"]}
    )
    near, far = (visualise.project(kinds.assign(feature=[*rows[:3], scale * rows[3]]), "pca")[0] for scale in (1, 100))
    assert near[:3] == pytest.approx(far[:3]) and near[3] != pytest.approx(far[3])
