"""scripts/fit.py, its page, also in a browser, where there is one, and scripts/demo.py on the shipped animals."""

import re
import shutil
import subprocess
from pathlib import Path

import demo
import fit
import pytest
from PIL import Image

from trainers import load
from trainers.core.answers import METRICS

ROOT = Path(__file__).resolve().parents[2]
ANIMALS = ROOT / "datasets/animals"
BOTH_WIDTHS = """<title></title><iframe src="ADDRESS" width="1280"></iframe><iframe src="ADDRESS" width="390"></iframe>
<script>onload = () => {
  const pages = [...document.querySelectorAll("iframe")].map(frame => frame.contentDocument.documentElement);
  document.title = pages.map(page => page.scrollWidth).join();
}</script>"""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    top = tmp_path_factory.mktemp("fit")
    (top / "names.txt").write_text("lobster\nstarfish\n")
    fit.main(words(top / "run"))
    return top / "run"


def words(run):
    """Of the command that makes `run`."""
    names = run.parent / "names.txt"
    return [f"{ANIMALS}/images", f"--names={names}", f"--out={run}", "--few=2", "--method=Prototype"]


def test_what_is_printed_and_the_page(run, tmp_path, capsys):
    page, before = run / "page.html", (run / "results.json").read_bytes()
    text = page.read_text()
    fit.main(words(run))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith("images: 30 images of 6 classes, 5 per class; at most 2 of each are trained on")
    assert lines[1].endswith("lobster, starfish")
    assert [sum(line.startswith(name) for line in lines) for name in METRICS.values()] == [1] * 5
    assert f"predict.py {run} photos/" in lines[-1]
    assert page.read_text() == text and (run / "results.json").read_bytes() == before  # a run that is done stays
    judged = re.findall(r'<td style="background[^>]*>(\d*)', text)
    assert len(judged) == 36 and sum(map(int, filter(None, judged))) == 8 * 6 * 2  # two images per class and fold
    wrong = sum(int(count or 0) for i, count in enumerate(judged) if i % 7)
    assert wrong and text.count("<img") == text.count('src="data:image/jpeg;base64,') > 0
    assert not re.search(r"<link|<script|(src|href)=\"(?!data:)", text)
    assert "lobster, starfish there is no image" in text


def test_the_page_is_no_wider_than_the_screen(run, tmp_path):
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if not program:
        pytest.skip("no chromium to look at the page with")
    (tmp_path / "both.html").write_text(BOTH_WIDTHS.replace("ADDRESS", (run / "page.html").as_uri()))
    flags = "--headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking --hide-scrollbars"
    command = [program, *flags.split(), "--allow-file-access-from-files", f"--user-data-dir={tmp_path / 'profile'}"]
    command += ["--dump-dom", (tmp_path / "both.html").as_uri()]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=120).stdout
    assert re.search("<title>(.*?)</title>", shown)[1] == "1280,390"


def test_a_class_that_is_named_in_the_demo_takes_part_at_once(run, tmp_path):
    gradio = pytest.importorskip("gradio")
    page, picture = demo.build(load(run)), Image.open(ANIMALS / "photos/b1.jpg")
    functions = {function.api_name: function.fn for function in page.fns.values()}
    shown = functions["bars"](picture, [])
    assert max(shown, key=shown.get) == "starfish" and functions["bars"](None, []) == {}
    found, _, names = functions["add"](picture, " sea urchin ", ["otter"])
    assert names == ["otter", "sea urchin"] and "sea urchin" in found
    with pytest.raises(gradio.Error, match="repeats"):
        functions["add"](picture, "Lobster", [])
