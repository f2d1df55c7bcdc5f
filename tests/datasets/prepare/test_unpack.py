"""Archives: what is unpacked, and that nothing dangerous is."""

import io
import os
import stat
import tarfile
import zipfile

import pytest
from dassl.utils import UserError

from datasets.prepare import unpack as module
from datasets.prepare.unpack import BadArchive, unpack


def tar_of(path, entries, mode="w:gz"):
    """A tar file of (name, bytes | dict of TarInfo fields) entries."""
    with tarfile.open(path, mode) as tar:
        for name, content in entries:
            info = tarfile.TarInfo(name)
            if isinstance(content, bytes):
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
            else:
                for key, value in content.items():
                    setattr(info, key, value)
                tar.addfile(info)
    return str(path)


def zip_of(path, entries):
    """A zip file of (name, bytes, unix mode) entries."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as pack:
        for name, content, mode in entries:
            info = zipfile.ZipInfo(name)
            info.external_attr = mode << 16
            pack.writestr(info, content, zipfile.ZIP_DEFLATED)
    return str(path)


def tree(folder):
    return {
        os.path.relpath(os.path.join(top, name), folder): open(os.path.join(top, name), "rb").read()
        for top, _, names in os.walk(folder)
        for name in names
    }


GOOD = [("a/1.jpg", b"one"), ("a/b/2.jpg", b"two" * 1000), ("readme.txt", b"")]


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2"])
def test_tar_files_unpack(tmp_path, mode):
    archive = tar_of(
        tmp_path / "x.tar", [("./", {"type": tarfile.DIRTYPE}), ("./a", {"type": tarfile.DIRTYPE}), *GOOD], mode
    )
    unpack(archive, str(tmp_path / "out"))
    assert tree(tmp_path / "out") == dict(GOOD)


def test_names_with_a_dot_in_front_unpack(tmp_path):
    unpack(tar_of(tmp_path / "x.tar", [("./a/1.jpg", b"one")]), str(tmp_path / "out"))
    assert tree(tmp_path / "out") == {"a/1.jpg": b"one"}


def test_zip_files_unpack_with_plain_permissions(tmp_path):
    entries = [(name, content, 0o104777) for name, content in GOOD] + [("empty/", b"", 0o40755)]
    unpack(zip_of(tmp_path / "x.zip", entries), str(tmp_path / "out"))
    assert tree(tmp_path / "out") == dict(GOOD) and (tmp_path / "out" / "empty").is_dir()
    assert not os.stat(tmp_path / "out" / "a" / "1.jpg").st_mode & (stat.S_ISUID | 0o111)


ESCAPES = [
    "../evil",
    "a/../../evil",
    "/tmp/evil-of-a-test",
    "a/..",
    "..",
    "a//../../evil",
    "a\\..\\..\\evil",
    "C:\\evil",
    "a/\nb",
    "x/" * 40 + "y",
]


@pytest.mark.parametrize("name", ESCAPES)
@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_entries_that_leave_the_folder_are_refused(tmp_path, name, kind):
    path = tmp_path / "in" / "x"
    path.parent.mkdir()
    archive = (
        tar_of(path, [("ok.jpg", b"1"), (name, b"evil")])
        if kind == "tar"
        else zip_of(path, [(name, b"evil", 0o100644)])
    )
    with pytest.raises(BadArchive, match="refused|cannot be unpacked"):
        unpack(archive, str(tmp_path / "in" / "out"))
    assert set(os.listdir(tmp_path)) == {"in"} and set(os.listdir(tmp_path / "in")) == {"x", "out"}
    assert not os.path.exists("/tmp/evil-of-a-test") and b"evil" not in tree(tmp_path / "in" / "out").values()


@pytest.mark.parametrize(
    "fields",
    [
        {"type": tarfile.SYMTYPE, "linkname": "/etc/passwd"},
        {"type": tarfile.SYMTYPE, "linkname": "ok.jpg"},
        {"type": tarfile.LNKTYPE, "linkname": "ok.jpg"},
        {"type": tarfile.FIFOTYPE},
        {"type": tarfile.CHRTYPE, "devmajor": 1, "devminor": 3},
        {"type": tarfile.BLKTYPE},
        {"type": tarfile.GNUTYPE_SPARSE},
        {"type": tarfile.CONTTYPE, "name": "../x"},
    ],
)
def test_links_and_devices_in_tar_files_are_refused(tmp_path, fields):
    with pytest.raises(BadArchive, match="refused|damaged"):
        unpack(tar_of(tmp_path / "x.tar", [("ok.jpg", b"1"), ("link", fields)]), str(tmp_path / "out"))
    assert set(tree(tmp_path / "out")) <= {"ok.jpg"}


def test_links_in_zip_files_are_refused(tmp_path):
    with pytest.raises(BadArchive, match="is a link or a device"):
        unpack(zip_of(tmp_path / "x.zip", [("link", b"/etc/passwd", stat.S_IFLNK | 0o777)]), str(tmp_path / "out"))


@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_bombs_are_stopped_early(tmp_path, monkeypatch, kind):
    monkeypatch.setattr(module, "FREE_BYTES", 100_000)
    zeros = bytes(50_000_000)
    archive = (
        tar_of(tmp_path / "x", [("zeros", zeros)])
        if kind == "tar"
        else zip_of(tmp_path / "x", [("zeros", zeros, 0o100644)])
    )
    with pytest.raises(BadArchive, match="more than 20 times its size"):
        unpack(archive, str(tmp_path / "out"))
    assert os.path.getsize(tmp_path / "out" / "zeros") < 5_000_000


def test_bomb_of_many_files_is_stopped(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "MAX_ENTRIES", 10)
    with pytest.raises(BadArchive, match="more than 10 entries"):
        unpack(tar_of(tmp_path / "x", [(f"{i}.jpg", b"1") for i in range(11)]), str(tmp_path / "out"))


def test_bomb_in_a_header_is_not_read(tmp_path):
    """A pax header of 1 GB would be read into memory before its entry is seen."""
    import gzip

    info = tarfile.TarInfo("header")
    info.type, info.size = tarfile.XHDTYPE, 1 << 30
    with gzip.open(tmp_path / "x.tar.gz", "wb") as file:
        file.write(info.tobuf(tarfile.USTAR_FORMAT))
        file.write(bytes(1 << 22))
    with pytest.raises(BadArchive, match="oversized header"):
        unpack(str(tmp_path / "x.tar.gz"), str(tmp_path / "out"))


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_the_same_entry_twice_and_a_file_that_is_a_folder_are_refused(tmp_path, kind):
    for i, names in enumerate((["a.jpg", "a.jpg"], ["a", "a/b.jpg"])):
        path = tmp_path / f"x{i}"
        archive = (
            tar_of(path, [(name, b"1") for name in names])
            if kind == "tar"
            else zip_of(path, [(name, b"1", 0o100644) for name in names])
        )
        with pytest.raises(BadArchive, match="cannot be unpacked"):
            unpack(archive, str(tmp_path / f"out{i}"))


def test_encrypted_zip_is_refused(tmp_path):
    path = zip_of(tmp_path / "x.zip", [("a", b"1", 0o100644)])
    content = bytearray(open(path, "rb").read())
    content[content.index(b"PK\1\2") + 8] |= 1
    with open(path, "wb") as file:
        file.write(content)
    with pytest.raises(BadArchive, match="encrypted"):
        unpack(path, str(tmp_path / "out"))


def test_full_disk_is_told(tmp_path, monkeypatch):
    import errno

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(module, "_write", full)
    with pytest.raises(UserError, match="is full; free some space") as error:
        unpack(tar_of(tmp_path / "x", GOOD), str(tmp_path / "out"))
    assert not isinstance(error.value, BadArchive), "a good archive must not be thrown away"
