"""scripts/data.py from end to end against a server on this machine: a table with its addresses, real archives, real
readers.
"""

import dataclasses
import hashlib
import importlib
import io
import os
import tarfile
import zipfile
from pathlib import Path

import pytest
from dassl.data.datasets import DATASET_REGISTRY
from dassl.utils import UserError
from helpers.http_server import serving

from datasets.core.splits import read_split, split_hash
from datasets.prepare import prepare as preparing
from datasets.prepare.sources import SOURCES, Resource, Source

REPO = Path(__file__).resolve().parents[3]
SPLIT = "split_zhou_Caltech101.json"
IMAGES = {"caltech-101/101_ObjectCategories": "101_ObjectCategories"}


@pytest.fixture
def server(monkeypatch):
    with serving(monkeypatch) as running:
        yield running


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
    """The miniature Caltech101 on the server, as CaltechDATA packs it (a tar.gz in a zip), and its table, whose first
    addresses are stale."""
    top = caltech / "caltech-101"
    inner = io.BytesIO()
    with tarfile.open(fileobj=inner, mode="w:gz") as tar:
        tar.add(top / "101_ObjectCategories", "101_ObjectCategories")
    archive = zipped({"caltech-101/101_ObjectCategories.tar.gz": inner.getvalue(), "caltech-101/unused": b"1"})
    server.files |= {"/moved.zip": b"<!DOCTYPE html>", "/caltech-101.zip": archive}
    server.files |= {"/split.json": (top / SPLIT).read_bytes()}
    addresses = [f"{server.url}/{name}.zip" for name in ("gone", "moved", "caltech-101")]
    md5, inner_name = hashlib.md5(archive).hexdigest(), "101_ObjectCategories.tar.gz"
    images = Resource("caltech-101.zip", addresses, IMAGES, md5=md5, inner=inner_name)
    known = split_hash(read_split(top / SPLIT))
    splits = Resource(SPLIT, [f"{server.url}/split.json"], {f"caltech-101/{SPLIT}": ""}, split_hash=known)
    table = Source("Caltech101", "caltech101", "here", "any", [62, 24, 12], 4, resources=[images, splits])
    monkeypatch.setitem(SOURCES, "Caltech101", table)
    return table


def all_files(folder):
    return sorted(
        os.path.relpath(os.path.join(top, name), folder) for top, _, names in os.walk(folder) for name in names
    )


def test_prepare_downloads_unpacks_places_and_checks(data, load, hosted, server, tmp_path, capsys):
    root = tmp_path / "new" / "DATA"
    command = ["prepare", "caltech101", "--root", str(root)]
    assert data.main(command) == 0
    output = capsys.readouterr().out
    assert "[62, 24, 12] images in train, val and test, 4 classes" in output and output.endswith("  complete\n")
    assert load("Caltech101", root).split_hash == hosted.resources[1].split_hash
    assert len(all_files(root)) == 98 + 1  # images and split: no archive, no lock, nothing that was not asked for
    server.requests[:] = []
    assert data.main(command) == 0 and not server.requests
    (root / "caltech-101" / SPLIT).unlink()
    assert data.main(command) == 0 and [path for path, _ in server.requests] == ["/split.json"]


@pytest.mark.parametrize(
    "archive, md5, fault",
    [
        (b"<!DOCTYPE html>", "", "gone.zip: .*HTTP Error 404.*it is no archive, perhaps a web page"),
        (zipped({"other/1.jpg": b"1"}), "", "does not hold 101_ObjectCategories"),
        (zipped({"other/1.jpg": b"1"}), "0" * 32, "its MD5 sum is not 00"),
    ],
)
def test_files_that_are_not_what_they_should_be(data, hosted, server, tmp_path, monkeypatch, archive, md5, fault):
    images = dataclasses.replace(hosted.resources[0], md5=md5, inner="")
    monkeypatch.setitem(SOURCES, "Caltech101", dataclasses.replace(hosted, resources=[images, hosted.resources[1]]))
    server.files["/caltech-101.zip"] = archive
    server.files["/split.json"] = server.files["/split.json"].replace(b"ant", b"elephant")
    with pytest.raises(UserError, match=f"(?s)not complete; missing: .*{fault}.*it is another split than CoOp's"):
        data.main(["prepare", "Caltech101", "--root", str(tmp_path)])
    assert not [*tmp_path.glob("caltech-101/*")]


def test_a_drive_that_gives_nothing_does_not_keep_the_next_address_from_being_tried(
    data, hosted, tmp_path, monkeypatch
):
    monkeypatch.setattr(preparing, "download_from_drive", lambda url, path: None)
    images, splits = hosted.resources
    splits = dataclasses.replace(splits, urls=[f"{preparing.DRIVE}uc?id=1", *splits.urls])
    monkeypatch.setitem(SOURCES, "Caltech101", dataclasses.replace(hosted, resources=[images, splits]))
    assert data.main(["prepare", "Caltech101", "--root", str(tmp_path)]) == 0


def test_check_names_what_is_missing_and_writes_nothing(data, hosted, tmp_path, capsys):
    root = tmp_path / "D"
    root.mkdir()
    check = ["check", "Caltech101", "--root", str(root)]
    assert data.main(check) == 1
    assert "missing  caltech-101/101_ObjectCategories" in capsys.readouterr().out and all_files(root) == []
    data.main(["prepare", "Caltech101", "--root", str(root)])
    for path in sorted((root / "caltech-101" / "101_ObjectCategories" / "bass").iterdir())[:6]:
        path.unlink()
    before = all_files(root)
    assert data.main(check) == 1 and all_files(root) == before
    assert "names 6 images that are not in" in capsys.readouterr().out


def test_manual_steps_where_a_licence_forbids_automation(data, hosted, tmp_path):
    """With several names, one that fails does not keep the others from being prepared."""
    manual = (
        r"(?s)missing: imagenet/images/train, imagenet/images/val.*By hand \(ROOT is .*Register at https://image-net"
    )
    with pytest.raises(UserError, match=manual):
        data.main(["prepare", "ImageNet", "Caltech101", "--root", str(tmp_path / "D")])
    assert (tmp_path / "D" / "caltech-101" / "101_ObjectCategories").is_dir()
    with pytest.raises(UserError, match="no dataset is called 'caltech'; the nearest: Caltech101"):
        data.main(["check", "caltech", "--root", str(tmp_path)])


def packed(path, kind, name, form=tarfile.REGTYPE, to=""):
    """An archive of a good entry and one called `name`, in a tar file of another form."""
    if kind == "zip":
        path.write_bytes(zipped({"ok.jpg": b"1", name: b"evil"}))
        return path
    with tarfile.open(path, kind) as tar:
        tar.addfile(tarfile.TarInfo("ok.jpg"))
        info = tarfile.TarInfo(name)
        info.type, info.linkname = form, to
        tar.addfile(info)
    return path


@pytest.mark.parametrize("name", ["../evil", "a/../../evil", "/tmp/evil-of-a-test"])
def test_no_entry_of_an_archive_leaves_the_folder(tmp_path, name):
    for kind in ("w:gz", "zip"):
        try:
            preparing.extract(packed(tmp_path / "x", kind, name), tmp_path / "out" / "in")
        except tarfile.FilterError:
            assert kind != "zip"
    assert {*os.listdir(tmp_path)} == {"x", "out"} and os.listdir(tmp_path / "out") == ["in"]
    assert not os.path.exists("/tmp/evil-of-a-test")


@pytest.mark.parametrize(
    "form, to", [(tarfile.SYMTYPE, "/etc/passwd"), (tarfile.LNKTYPE, "../x"), (tarfile.FIFOTYPE, "")]
)
def test_devices_and_links_that_lead_out_are_refused(tmp_path, form, to):
    archive = packed(tmp_path / "x", "w", "link", form, to)
    with pytest.raises(UserError, match="x cannot be unpacked; if it is damaged, delete it"):
        preparing.unpack(Resource("x", [], {}), archive, tmp_path / "out")
    assert os.listdir(tmp_path / "out") == ["ok.jpg"]


def test_page_is_current(data, capsys):
    data.main(["page"])
    assert (REPO / "DATASETS.md").read_text() == capsys.readouterr().out, (
        "run: python scripts/data.py page > DATASETS.md"
    )


def test_table_is_consistent(data, tmp_path, capsys):
    data.main(["list", "--root", str(tmp_path)])
    listed = capsys.readouterr().out
    for name, source in SOURCES.items():
        config = (REPO / "configs" / "datasets" / f"{source.config}.yaml").read_text()
        assert source.reader == name and config.split()[-1] == f'"{name}"' and name in listed
        reader = DATASET_REGISTRY.get(name)
        images = os.path.normpath(os.path.join(reader.dataset_dir, reader.image_folder))
        assert any(place.startswith(images) for place in source.places()), name
        if reader.split_file:
            assert f"{reader.dataset_dir}/{reader.split_file}" in source.places()
        for resource in source.resources:
            assert resource.gives and len(resource.md5) in (0, 32)
            assert all(url.startswith(("https://", "http://")) for url in resource.urls)
    assert len(SOURCES) == 18


def test_known_splits_have_the_hashes_of_the_table(shared):
    known = {r.name: r.split_hash for source in SOURCES.values() for r in source.resources if r.split_hash}
    assert len(known) == 7
    for file, expected in known.items():
        assert split_hash(read_split(shared / "splits_zhou" / file)) == expected
