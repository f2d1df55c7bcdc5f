"""Charts are written whole, show what the table shows, and leave nothing else behind."""

import pytest

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def bar_runs(write_run):
    for trainer, base, new in (("CoOp", 80.0, 50.0), ("CoOp_SHIP", 78.0, 60.0)):
        for seed in (1, 2):
            write_run({"base": base + seed, "new": new - seed, "all": 60.0}, trainer=trainer, seed=seed)
    write_run({"base": 85.0}, trainer="Tip_Adapter_F", unsupported={"new": "no keys"})


@pytest.fixture
def figures(monkeypatch):
    """Keeps the figures that are saved, to look into."""
    from lib.report import plots

    kept = []
    save = plots.save_figure
    monkeypatch.setattr(plots, "save_figure", lambda figure, path: (kept.append(figure), save(figure, path)))
    return kept


def test_bars(bar_runs, report, figures, tmp_path):
    path = tmp_path / "charts" / "chart.png"
    assert f"chart: {path}" in report("--plot", path).out
    data = path.read_bytes()
    assert data.startswith(PNG) and len(data) > 10_000
    assert [p.name for p in path.parent.iterdir()] == ["chart.png"]
    (axis,) = figures[0].axes
    assert [label.get_text() for label in axis.get_xticklabels()] == ["base", "new", "H"]
    h_of_means = [2 * 81.5 * 48.5 / 130, 2 * 79.5 * 58.5 / 138]
    heights = sorted(bar.get_height() for bar in axis.patches)
    assert heights == pytest.approx(sorted([81.5, 48.5, 79.5, 58.5, 85.0, *h_of_means]))
    assert sum(text.get_text() == "n/a" for text in axis.texts) == 2  # new and H of Tip-Adapter-F
    assert [text.get_text() for text in figures[0].legends[0].get_texts()] == ["CoOp", "CoOp + SHIP", "Tip-Adapter-F"]


def test_error_bars_only_over_several_seeds(bar_runs, report, figures, tmp_path):
    report("--plot", tmp_path / "chart.png")
    assert len(figures[0].axes[0].containers) - len(figures[0].axes[0].patches) == 6  # two trainers, three metrics


def test_curves_over_shots(write_run, report, figures, tmp_path):
    for dataset in ("caltech101", "eurosat"):
        for shots in (1, 4, 16):
            write_run({"accuracy": 50.0 + shots}, task="fewshot", dataset=dataset, shots=shots)
        write_run({"accuracy": 45.0}, task="fewshot", dataset=dataset, shots=16, trainer="ZeroshotCLIP")
    report("--plot", tmp_path / "curve.png")
    assert len(figures[0].axes) == 2
    curve = next(line for line in figures[0].axes[0].lines if len(line.get_xdata()) == 3)
    assert list(curve.get_xdata()) == [1, 4, 16] and list(curve.get_ydata()) == [51.0, 54.0, 66.0]
    flat = next(line for line in figures[0].axes[0].lines if list(line.get_ydata()) == [45.0, 45.0])
    assert flat.get_linestyle() == "--"


def test_a_chart_for_each_task(bar_runs, write_run, report, tmp_path):
    write_run({"accuracy": 70.0}, task="fewshot")
    report("--plot", tmp_path / "chart.png")
    assert sorted(p.name for p in tmp_path.glob("*.png")) == ["chart-base2new.png", "chart-fewshot.png"]


def test_eleven_datasets_and_many_trainers_fit(write_run, report, figures, tmp_path):
    from lib.report.paper import paper_table

    for dataset in list(paper_table(1).columns)[1:]:
        for row in paper_table(1).rows:
            write_run({"base": 80.0, "new": 50.0}, trainer=row.trainer, dataset=dataset)
    report("--plot", tmp_path / "chart.png")
    assert sum(axis.get_visible() for axis in figures[0].axes) == 11
    assert max(figures[0].get_size_inches()) < 60


def test_a_name_that_is_no_picture(bar_runs, report, tmp_path):
    from lib.run import UserError

    with pytest.raises(UserError, match="should end in .png"):
        report("--plot", tmp_path / "chart.jpeg2")


def test_a_failed_drawing_leaves_the_old_chart(bar_runs, report, tmp_path, monkeypatch):
    from matplotlib.figure import Figure

    path = tmp_path / "chart.png"
    report("--plot", path)
    before = path.read_bytes()

    def fail(self, target, **_):
        target.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(Figure, "savefig", fail)
    with pytest.raises(OSError):
        report("--plot", path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.glob("*.png")] + [p.name for p in tmp_path.glob(".*.png")] == ["chart.png"]
