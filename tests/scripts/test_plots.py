"""Charts and the page of scripts/report.py: whole, not clipped, of the table's numbers; and the page in a browser."""

import re
import shutil
import subprocess
from html import unescape
from urllib.parse import unquote

import pytest

from trainers.core.files import UserError


@pytest.fixture
def runs(write_run):
    for trainer, base, new in (("CoOp", 80.0, 50.0), ("CoOp_SHIP", 78.0, 60.0)):
        for seed in (1, 2):
            write_run({"base": base + seed, "new": new - seed}, trainer=trainer, seed=seed)
    write_run({"base": 85.0}, trainer="Tip_Adapter_F", unsupported={"new": "no keys"})


@pytest.fixture
def figures(monkeypatch):
    """Keeps the figures that are drawn, to look into."""
    from lib.report import plots

    kept, chart = [], plots.chart
    monkeypatch.setattr(plots, "chart", lambda *words: kept.append(chart(*words)) or kept[-1])
    return kept


def test_bars_and_curves_are_the_tables_numbers(runs, write_run, report, figures, tmp_path):
    for shots in (1, 4, 16):
        write_run({"accuracy": 50.0 + shots}, task="fewshot", shots=shots)
    report("--plot", tmp_path / "charts" / "chart.svg")
    names = ["chart-Base-to-new_generalization_MiniCLIP.svg", "chart-Few-shot_classification_MiniCLIP.svg"]
    assert sorted(path.name for path in tmp_path.glob("charts/*")) == names  # one for each task
    bars, curves = (figure.axes[0] for figure in figures)
    assert [label.get_text() for label in bars.get_xticklabels()] == ["base", "new", "H"]
    heights = sorted(bar.get_height() for bar in bars.patches if bar.get_height() > 0)
    h_of_means = [2 * 81.5 * 48.5 / 130, 2 * 79.5 * 58.5 / 138]
    assert heights == pytest.approx(sorted([81.5, 48.5, 79.5, 58.5, 85.0, *h_of_means]))
    assert [text.get_text() for text in figures[0].legends[0].get_texts()] == ["CoOp", "Tip-Adapter-F", "CoOp + SHIP"]
    assert [51.0, 54.0, 66.0] in [[*line.get_ydata()] for line in curves.lines]
    with pytest.raises(UserError, match="should end in .png"):
        report("--plot", tmp_path / "chart.jpeg2")


def test_eleven_data_sets_fit_and_no_title_is_clipped(write_run, report, figures, tmp_path):
    from lib.report.paper import paper_table

    table = paper_table(1)
    for dataset in table["datasets"]:
        for row in table["rows"]:
            write_run({"base": 80.0, "new": 50.0}, trainer=row["trainer"], dataset=dataset)
    report("--plot", tmp_path / "chart.png")
    figure = figures[0]
    assert len(figure.axes) == 12 and max(figure.get_size_inches()) < 60
    figure.draw_without_rendering()
    titles = [axis.title.get_window_extent() for axis in figure.axes]
    width, height = figure.bbox.size
    for i, box in enumerate(titles):
        assert box.x0 >= 0 and box.x1 <= width and box.y1 <= height
        assert not any(box.overlaps(other) for other in titles[:i])


@pytest.fixture
def page(runs, write_run, report, tmp_path):
    write_run({"base": 1.0, "new": 2.0}, dataset="<i>&x", seed=9)

    def write(*arguments):
        path = tmp_path / "pages" / "report.html"
        assert f"page: {path}" in report("--html", path, *arguments).err
        return path

    return write


def test_the_page_is_whole_and_needs_nothing_from_outside(page):
    path = page("--paired")
    text = path.read_text()
    assert text.count("<img") == 1 and text.count("<table") == 2 and not re.search("<(link|iframe|script)", text)
    addresses = re.findall(r'(?:src|href)="(.*?)"', text)
    assert not re.search(r"@import|url\((?!#)", text) and not [one for one in addresses if re.match(r"(\w+:)?//", one)]
    assert "<i>&x" not in text and "&lt;i&gt;&amp;x" in text
    assert "paired differences" in text and "no keys" in text and "81.50 ± 0.50" in text
    links = [unquote(unescape(address)) for address in addresses if not address.startswith("data:")]
    assert len(links) == 6 and all((path.parent / link / "results.json").exists() for link in links)


@pytest.mark.parametrize("width", [1280, 500])  # a headless browser's window is not narrower
def test_nothing_is_wider_than_the_screen(page, tmp_path, width):
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if not program:
        pytest.skip("no chromium to look at the page with")
    script = (
        'const boxes = [...document.querySelectorAll("img")].map(svg => svg.getBoundingClientRect());'
        "document.title = [boxes.every(box => box.width > 300 && box.height > 150),"
        " document.documentElement.scrollWidth <= innerWidth].join();"
    )
    path = page("--table", "1")
    path.write_text(path.read_text().replace("</html>", f"<script>{script}</script></html>"))
    flags = "--headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking".split()
    command = [program, *flags, f"--user-data-dir={tmp_path / 'profile'}", f"--window-size={width},900"]
    shown = subprocess.run([*command, "--dump-dom", path.as_uri()], capture_output=True, text=True, timeout=120).stdout
    assert re.search(r"<title>(.*?)</title>", shown)[1] == "true,true"
