"""scripts/data.py from end to end against a server on this machine: a table with its addresses, real archives, real
readers.
"""

import dataclasses
import hashlib
import importlib
import io
import json
import os
import tarfile
import zipfile
from pathlib import Path

import pytest
from dassl.utils import UserError

from datasets.core.splits import read_split, split_hash
from datasets.prepare.check import check
from datasets.prepare.prepare import prepare
from datasets.prepare.sources import SOURCES, Resource, Source

REPO = Path(__file__).resolve().parents[3]
SPLIT = "split_zhou_Caltech101.json"
IMAGES = {"caltech-101/101_ObjectCategories": "101_ObjectCategories"}


@pytest.fixture
def data(monkeypatch):
    """scripts/data.py, which is no part of a package."""
    monkeypatch.syspath_prepend(str(REPO / "scripts"))
    return importlib.import_module("data")


def zipped(files):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as pack:
        for name, content in files.items():
            pack.writestr(name, content)
    return buffer.getvalue()


@pytest.fixture
def hosted(caltech, server, monkeypatch):
    """The miniature Caltech101 on the server, as CaltechDATA packs it (a tar.gz in a zip), and its table."""
    top = caltech / "caltech-101"
    inner = io.BytesIO()
    with tarfile.open(fileobj=inner, mode="w:gz") as tar:
        tar.add(top / "101_ObjectCategories", "101_ObjectCategories")
    archive = zipped({"caltech-101/101_ObjectCategories.tar.gz": inner.getvalue(), "caltech-101/unused": b"1"})
    server.files |= {"/caltech-101.zip": archive, "/split.json": (top / SPLIT).read_bytes()}
    images = Resource(
        "caltech-101.zip",
        (f"{server.url}/caltech-101.zip",),
        IMAGES,
        md5=hashlib.md5(archive).hexdigest(),
        inner="101_ObjectCategories.tar.gz",
    )
    known = split_hash(read_split(top / SPLIT))
    splits = Resource(SPLIT, (f"{server.url}/split.json",), {f"caltech-101/{SPLIT}": ""}, split_hash=known)
    table = Source("Caltech101", "caltech101", "here", "any", [62, 24, 12], 4, resources=(images, splits))
    monkeypatch.setitem(SOURCES, "Caltech101", table)
    return table


def all_files(folder):
    return sorted(
        os.path.relpath(os.path.join(top, name), folder) for top, _, names in os.walk(folder) for name in names
    )


def test_prepare_downloads_unpacks_places_and_checks(data, load, hosted, server, tmp_path, capsys):
    root = tmp_path / "new" / "DATA"
    assert data.main(["prepare", "caltech101", "--root", str(root)]) == 0
    output = capsys.readouterr().out
    assert "62 train, 24 val, 12 test images of 4 classes" in output and output.rstrip().endswith("  complete")
    assert load("Caltech101", root).split_hash == hosted.resources[1].split_hash
    assert len(all_files(root)) == 98 + 1  # images and split: no archive, no lock, nothing that was not asked for


def test_only_what_is_missing_is_downloaded(hosted, server, tmp_path, capsys):
    root = tmp_path / "D"
    (root / ".prepare" / "caltech-101.zip.unpacked" / "content").mkdir(parents=True)  # left by a run that was killed
    assert prepare("Caltech101", str(root), keep_archives=True)
    assert [path.name for path in (root / ".prepare").iterdir()] == ["caltech-101.zip"]
    server.requests[:] = []
    assert prepare("Caltech101", str(root)) and "nothing to do" in capsys.readouterr().out and not server.requests
    (root / "caltech-101" / SPLIT).unlink()
    assert prepare("Caltech101", str(root)) and [path for path, _ in server.requests] == ["/split.json"]


@pytest.mark.parametrize(
    "archive, md5, fault",
    [
        (b"<!DOCTYPE html>", "", "it is no archive, perhaps a web page"),
        (zipped({"other/1.jpg": b"1"}), "", "does not hold 101_ObjectCategories"),
        (zipped({"other/1.jpg": b"1"}), "0" * 32, "MD5 sum"),
    ],
)
def test_archive_that_is_not_what_it_should_be(hosted, server, tmp_path, monkeypatch, archive, md5, fault):
    images = dataclasses.replace(hosted.resources[0], md5=md5)
    changed = dataclasses.replace(hosted, resources=(images, hosted.resources[1]))
    monkeypatch.setitem(SOURCES, "Caltech101", changed)
    server.files["/caltech-101.zip"] = archive
    with pytest.raises(UserError, match=f"(?s)not complete; missing: caltech-101/101_ObjectCategories.*{fault}"):
        prepare("Caltech101", str(tmp_path / "D"))
    assert all_files(tmp_path / "D") == [f"caltech-101/{SPLIT}"]


def test_split_that_is_not_coops_is_refused(hosted, server, tmp_path):
    raw = json.loads(server.files["/split.json"])
    for content in (json.dumps({**raw, "test": raw["test"][::-1]}), "{}", "["):
        server.files["/split.json"] = content.encode()
        with pytest.raises(UserError, match="another split than CoOp's|not a valid split|not valid JSON"):
            prepare("Caltech101", str(tmp_path / "D"))
        assert not (tmp_path / "D" / "caltech-101" / SPLIT).exists()


def test_check_names_what_is_missing_and_writes_nothing(data, hosted, tmp_path, capsys):
    root = tmp_path / "D"
    root.mkdir()
    assert data.main(["check", "Caltech101", "--root", str(root)]) == 1
    assert "missing  caltech-101/101_ObjectCategories" in capsys.readouterr().out and all_files(root) == []
    prepare("Caltech101", str(root))
    for path in sorted((root / "caltech-101" / "101_ObjectCategories" / "bass").iterdir())[:6]:
        path.unlink()
    before = all_files(root)
    assert not check("Caltech101", str(root)) and all_files(root) == before
    assert "names 6 images that are not in" in capsys.readouterr().out


def test_manual_steps_where_a_licence_forbids_automation(data, hosted, tmp_path):
    """With several names, one that fails does not keep the others from being prepared."""
    manual = (
        r"(?s)missing: imagenet/images/train, imagenet/images/val.*By hand \(ROOT is .*Register at https://image-net"
    )
    with pytest.raises(UserError, match=manual):
        data.main(["prepare", "ImageNet", "Caltech101", "--root", str(tmp_path / "D")])
    assert (tmp_path / "D" / "caltech-101" / "101_ObjectCategories").is_dir()


def test_page_is_current(data, capsys):
    data.main(["page"])
    assert (REPO / "DATASETS.md").read_text() == capsys.readouterr().out, (
        "run: python scripts/data.py page > DATASETS.md"
    )


def test_table_is_consistent():
    from dassl.data.datasets import DATASET_REGISTRY

    for name, source in SOURCES.items():
        reader = DATASET_REGISTRY.get(name)
        assert (
            source.reader == name
            and (REPO / "configs" / "datasets" / f"{source.config}.yaml").read_text().split()[-1] == f'"{name}"'
        )
        images = os.path.normpath(os.path.join(reader.dataset_dir, reader.image_folder))
        assert any(place.startswith(images) for place in source.places()), name
        if reader.split_file:
            assert f"{reader.dataset_dir}/{reader.split_file}" in source.places()
        for resource in source.downloads():
            assert resource.urls and resource.gives and len(resource.md5) in (0, 32)
            assert all(url.startswith(("https://", "http://", "gdrive:")) for url in resource.urls)
    assert len(SOURCES) == 18


def test_known_splits_have_the_hashes_of_the_table(shared):
    known = {r.name: r.split_hash for source in SOURCES.values() for r in source.resources if r.split_hash}
    assert len(known) == 7
    for file, expected in known.items():
        assert split_hash(read_split(shared / "splits_zhou" / file)) == expected
