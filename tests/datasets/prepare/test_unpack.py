"""Archives: what is unpacked, and that nothing leaves the folder."""

import io
import os
import tarfile
import zipfile

import pytest

from datasets.prepare.unpack import BadArchive, unpack

GOOD = {"a/1.jpg": b"one", "a/b/2.jpg": b"two" * 1000, "readme.txt": b""}


def archive_of(path, kind, files, **fields):
    """A tar ("w:gz" ...) or "zip" file of {name: content}; fields: of one more entry of a tar file."""
    if kind == "zip":
        with zipfile.ZipFile(path, "w") as pack:
            for name, content in files.items():
                pack.writestr(name, content)
        return str(path)
    with tarfile.open(path, kind) as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
        if fields:
            info = tarfile.TarInfo("link")
            info.type, info.linkname = fields["type"], fields.get("linkname", "")
            tar.addfile(info)
    return str(path)


def tree(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("kind", ["w", "w:gz", "w:bz2", "w:xz", "zip"])
def test_archives_unpack(tmp_path, kind):
    unpack(archive_of(tmp_path / "x", kind, GOOD), str(tmp_path / "out"))
    assert tree(tmp_path / "out") == GOOD


@pytest.mark.parametrize("name", ["../evil", "a/../../evil", "/tmp/evil-of-a-test"])
@pytest.mark.parametrize("kind", ["w", "zip"])
def test_no_entry_leaves_the_folder(tmp_path, name, kind):
    path = archive_of(tmp_path / "x", kind, {"ok.jpg": b"1", name: b"evil"})
    try:
        unpack(path, str(tmp_path / "out" / "in"))
    except BadArchive as error:
        assert "not to be trusted" in str(error) and kind == "w"
    assert {*os.listdir(tmp_path)} == {"x", "out"} and os.listdir(tmp_path / "out") == ["in"]
    assert not os.path.exists("/tmp/evil-of-a-test")


@pytest.mark.parametrize(
    "fields",
    [
        {"type": tarfile.SYMTYPE, "linkname": "/etc/passwd"},
        {"type": tarfile.LNKTYPE, "linkname": "../x"},
        {"type": tarfile.FIFOTYPE},
    ],
)
def test_devices_and_links_that_lead_out_are_refused(tmp_path, fields):
    with pytest.raises(BadArchive, match="not to be trusted"):
        unpack(archive_of(tmp_path / "x", "w", {"ok.jpg": b"1"}, **fields), str(tmp_path / "out"))
    assert os.listdir(tmp_path / "out") == ["ok.jpg"]


@pytest.mark.parametrize("kind", ["w:gz", "zip"])
def test_a_damaged_archive_is_a_sentence(tmp_path, kind):
    path = archive_of(tmp_path / "x", kind, {"a": os.urandom(1000)})
    content = bytearray((tmp_path / "x").read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(BadArchive, match="x is damaged"):
        unpack(path, str(tmp_path / "out"))
