"""--html: one page that needs nothing from outside; its numbers, seeds and links; and how a browser shows it."""

import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest


class Reader(HTMLParser):
    """Tags with their attributes, texts of table rows, and the links."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.rows, self.links, self.text = [], [], [], ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")
        elif tag == "a":
            self.links.append(dict(attributes)["href"])

    def handle_data(self, data):
        self.text += data
        if self.rows and self.rows[-1]:
            self.rows[-1][-1] += data.strip()


@pytest.fixture
def page(write_run, report, tmp_path):
    for dataset in ("caltech101", "eurosat"):
        for trainer, new in (("CoOp", 50.0), ("CoOp_SHIP", 60.0), ("CoOp_SAR", 55.0)):
            for seed in (1, 2):
                write_run({"base": 80.0 + seed, "new": new, "all": 50.0}, trainer, seed, dataset=dataset, config="a b")
    for shots in (1, 16):
        write_run({"accuracy": 40.0 + shots}, task="fewshot", shots=shots)
    write_run({"base": 1.0, "new": 2.0}, dataset="<i>&x", seed=9)

    def write(*arguments):
        path = tmp_path / "pages" / "report.html"
        result = report("--html", path, *arguments)
        assert f"page: {path}" in result.out + result.err
        return path

    return write


def test_it_needs_nothing_from_outside(page):
    text = page().read_text()
    reader = Reader(text)
    for tag, attributes in reader.tags:
        for name in ("src", "href", "xlink:href", "data", "action", "srcset"):
            assert not re.match(r"(\w+:)?//", attributes.get(name) or ""), (tag, attributes)
        assert tag not in ("link", "iframe", "object", "img")
    assert "@import" not in text and not re.search(r"url\((?!#)", text)


def test_tables_charts_and_every_link_is_there(page):
    path = page()
    reader = Reader(path.read_text())
    tags = [tag for tag, _ in reader.tags]
    assert tags.count("svg") == 2 and tags.count("h2") == 2 and tags.count("table") >= 5
    assert "Base-to-new generalization" in reader.text and "paired differences" in reader.text
    runs = [link for link in reader.links if not link.startswith("#")]
    assert len(set(runs)) == 15
    for link in runs:
        assert (path.parent / unquote(link) / "results.json").exists()
    ids = [attributes["id"] for _, attributes in reader.tags if "id" in attributes]
    assert len(ids) == len(set(ids)) and {link[1:] for link in reader.links if link.startswith("#")} <= set(ids)


def test_seeds_stand_below_their_row(page):
    rows = Reader(page().read_text()).rows
    at = next(i for i, row in enumerate(rows) if row[1:4] == ["caltech101", "16", "CoOp"])
    assert rows[at][6].startswith("81.50") and "± 0.50" in rows[at][6]
    assert [row[1] for row in rows[at + 1 : at + 3]] == ["seed 1", "seed 2"]
    assert [row[2] for row in rows[at + 1 : at + 3]] == ["81.00", "82.00"]


def test_words_of_results_are_escaped(page):
    text = page().read_text()
    assert "<i>&x" not in text and "&lt;i&gt;&amp;x" in text


def test_footnotes_and_warnings_are_on_the_page(page):
    text = Reader(page().read_text()).text
    assert "SAR: reconstruction" in text
    assert "rows have different seeds" in text or "Warnings" not in text


def test_the_layout_and_the_rule_are_those_asked_for(page):
    text = Reader(page("--layout", "paper", "--ci95", "--papers-own").read_text()).text
    assert "95% interval" in text and "As printed in SHIP" in text and "CoOp + SHIP" in text


def test_the_same_runs_make_the_same_page(page):
    assert page().read_bytes() == page().read_bytes()


@pytest.fixture
def browser(tmp_path):
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if not program:
        pytest.skip("no chromium to look at the page with")
    flags = "--headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking".split()

    def show(path: Path, script: str, *more: str) -> str:
        """The page's title after `script` set it."""
        copy = path.with_name("shown.html")
        copy.write_text(path.read_text().replace("</html>", f"<script>{script}</script></html>"))
        command = [program, *flags, f"--user-data-dir={tmp_path / 'profile'}", *more, "--dump-dom", copy.as_uri()]
        found = subprocess.run(command, capture_output=True, text=True, timeout=120).stdout
        return re.search(r"<title>(.*?)</title>", found).group(1)

    return show


def test_a_click_opens_the_seeds(page, browser):
    count = 'document.title = [...document.querySelectorAll(".seed")].filter(r => r.offsetHeight > 0).length;'
    path = page()
    assert browser(path, count) == "0"
    click = 'document.querySelector("tr.run").click();'
    assert browser(path, click + count) == "2"
    assert browser(path, click + click + count) == "0"


def test_charts_are_drawn_and_nothing_is_wider_than_the_page(page, browser):
    script = (
        'const boxes = [...document.querySelectorAll("svg")].map(svg => svg.getBoundingClientRect());'
        "document.title = [boxes.every(box => box.width > 200 && box.height > 100),"
        " document.documentElement.scrollWidth <= innerWidth].join();"
    )
    assert browser(page(), script, "--window-size=900,900") == "true,true"


def test_it_is_light_and_dark(page, browser):
    script = "document.title = getComputedStyle(document.body).backgroundColor;"
    seen = {browser(page(), script, f"--blink-settings=preferredColorScheme={n}") for n in (0, 1)}
    assert len(seen) == 2
