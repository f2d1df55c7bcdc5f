"""Downloads from a server on this machine that can cut, refuse, change and misbehave."""

import errno
import hashlib
import shutil

import pytest
from dassl.utils import UserError

from datasets.prepare import download
from datasets.prepare.download import DownloadError, check_md5, fetch

CONTENT = bytes(range(256)) * 1000


def accept(path):
    """A check that finds nothing wrong."""


def names(folder):
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def test_whole_file_arrives_and_nothing_else_stays(server, tmp_path):
    server.files["/a.bin"] = CONTENT
    fetch(
        [f"{server.url}/a.bin"],
        str(tmp_path / "new" / "a.bin"),
        lambda path: check_md5(path, hashlib.md5(CONTENT).hexdigest()),
    )
    assert (tmp_path / "new" / "a.bin").read_bytes() == CONTENT and names(tmp_path / "new") == ["a.bin"]


def test_cut_connection_goes_on_where_it_stopped(server, tmp_path, capsys):
    server.files["/a.bin"] = [
        (CONTENT, {"cut": 100_000, "tag": "v1"}),
        (CONTENT, {"cut": 100_000, "tag": "v1"}),
        (CONTENT, {"tag": "v1"}),
    ]
    fetch([f"{server.url}/a.bin"], str(tmp_path / "a.bin"), accept)
    assert (tmp_path / "a.bin").read_bytes() == CONTENT and names(tmp_path) == ["a.bin"]
    assert [wanted for _, wanted, _ in server.requests] == [None, "bytes=100000-", "bytes=200000-"]
    assert "trying again from 100000 bytes" in capsys.readouterr().out


def test_next_run_goes_on_where_the_last_gave_up(server, tmp_path, monkeypatch):
    server.files["/a.bin"] = [(CONTENT, {"cut": 50_000}), 503]
    with pytest.raises(DownloadError, match="gave up after 5 tries; the next run goes on from 50000 bytes"):
        fetch([f"{server.url}/a.bin"], str(tmp_path / "a.bin"), accept)
    assert not (tmp_path / "a.bin").exists()
    server.files["/a.bin"], server.requests[:] = CONTENT, []
    fetch([f"{server.url}/a.bin"], str(tmp_path / "a.bin"), accept)
    assert (tmp_path / "a.bin").read_bytes() == CONTENT and server.requests[0][1] == "bytes=50000-"


def test_file_that_changed_meanwhile_is_taken_from_its_start(server, tmp_path):
    other = CONTENT[::-1]
    server.files["/a.bin"] = [(CONTENT, {"cut": 50_000, "tag": "v1"}), (other, {"tag": "v2"})]
    fetch([f"{server.url}/a.bin"], str(tmp_path / "a.bin"), accept)
    assert (tmp_path / "a.bin").read_bytes() == other and server.requests[1][2] == '"v1"'


def test_server_without_ranges_sends_all_of_it_again(server, tmp_path):
    server.files["/a.bin"] = [(CONTENT, {"cut": 50_000}), (CONTENT, {"ranges": False})]
    fetch([f"{server.url}/a.bin"], str(tmp_path / "a.bin"), accept)
    assert (tmp_path / "a.bin").read_bytes() == CONTENT


def test_part_longer_than_the_file_is_dropped(server, tmp_path):
    server.files["/a.bin"] = [(CONTENT + b"more", {"cut": len(CONTENT) + 2}), CONTENT[:1000]]
    fetch([f"{server.url}/a.bin"], str(tmp_path / "a.bin"), accept)
    assert (tmp_path / "a.bin").read_bytes() == CONTENT[:1000]


def test_file_without_a_length_arrives(server, tmp_path):
    server.files["/a.bin"] = (CONTENT, {"length": False})
    fetch([f"{server.url}/a.bin"], str(tmp_path / "a.bin"), accept)
    assert (tmp_path / "a.bin").read_bytes() == CONTENT


def test_busy_server_is_asked_again(server, tmp_path):
    server.files["/a.bin"] = [503, 429, CONTENT]
    fetch([f"{server.url}/a.bin"], str(tmp_path / "a.bin"), accept)
    assert len(server.requests) == 3


def test_mirror_is_used_when_the_official_source_is_gone(server, tmp_path, capsys):
    server.files["/mirror.bin"] = CONTENT
    fetch([f"{server.url}/official.bin", f"{server.url}/mirror.bin"], str(tmp_path / "a.bin"), accept)
    assert (tmp_path / "a.bin").read_bytes() == CONTENT and [path for path, *_ in server.requests] == [
        "/official.bin",
        "/mirror.bin",
    ]
    assert "HTTP 404" in capsys.readouterr().out


def test_wrong_checksum_is_removed_and_the_next_source_tried(server, tmp_path):
    server.files["/bad.bin"], server.files["/good.bin"] = CONTENT[:-1] + b"x", CONTENT
    check = lambda path: check_md5(path, hashlib.md5(CONTENT).hexdigest())  # noqa: E731
    with pytest.raises(DownloadError, match="has the MD5 sum [0-9a-f]{32}, not [0-9a-f]{32}.* was removed"):
        fetch([f"{server.url}/bad.bin"], str(tmp_path / "a.bin"), check)
    assert names(tmp_path) == []
    fetch([f"{server.url}/bad.bin", f"{server.url}/good.bin"], str(tmp_path / "a.bin"), check)
    assert (tmp_path / "a.bin").read_bytes() == CONTENT and names(tmp_path) == ["a.bin"]


@pytest.mark.parametrize("page", [b"<!DOCTYPE html><p>Quota exceeded", b"\n <html><body>sign in"])
def test_web_page_is_not_taken_for_the_file(server, tmp_path, page):
    server.files["/a.bin"] = page
    with pytest.raises(DownloadError, match="a web page came instead"):
        fetch([f"{server.url}/a.bin"], str(tmp_path / "a.bin"), accept)
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    "url, reason",
    [("http://127.0.0.1:9/a.bin", "refused"), ("nonsense", "unknown url type"), ("http://[/a", "Invalid|not")],
)
def test_sources_that_cannot_be_reached_say_why(tmp_path, monkeypatch, url, reason):
    monkeypatch.setattr(download, "PAUSE", 0)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with pytest.raises(DownloadError, match=reason):
        fetch([url], str(tmp_path / "a.bin"), accept)


def test_full_disk_is_told_before_the_download(server, tmp_path, monkeypatch):
    server.files["/a.bin"] = CONTENT
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1000))
    with pytest.raises(UserError, match="the disk that holds .* needs 0.00 GB more; free some space"):
        fetch([f"{server.url}/a.bin", f"{server.url}/other.bin"], str(tmp_path / "a.bin"), accept)
    assert len(server.requests) == 1 and not (tmp_path / "a.bin").exists()


def test_disk_that_fills_up_meanwhile_leaves_a_part_that_is_gone_on_with(server, tmp_path, monkeypatch):
    server.files["/a.bin"] = CONTENT
    monkeypatch.setattr(download, "BLOCK", 10_000)

    class FullDisk:
        """A file that takes 100 000 bytes."""

        def __init__(self, path, mode, **_):
            self.file, self.left = open(path, mode), 100_000

        def __enter__(self):
            return self

        def __exit__(self, *_):
            self.file.close()

        def write(self, block):
            self.left -= len(block)
            if self.left < 0:
                raise OSError(errno.ENOSPC, "No space left on device")
            self.file.write(block)

    monkeypatch.setattr(
        download,
        "open",
        lambda path, mode="r", **kw: (FullDisk if mode in ("ab", "wb") else open)(path, mode, **kw),
        raising=False,
    )
    with pytest.raises(UserError, match="the disk that holds .* is full; free some space"):
        fetch([f"{server.url}/a.bin"], str(tmp_path / "a.bin"), accept)
    assert not (tmp_path / "a.bin").exists()
    monkeypatch.undo()
    fetch([f"{server.url}/a.bin"], str(tmp_path / "a.bin"), accept)
    assert (tmp_path / "a.bin").read_bytes() == CONTENT and server.requests[-1][1] == "bytes=100000-"


class Drive:
    """Stands for gdown, as there is no network: what its download() was asked, and what it does."""

    def __init__(self, outcome):
        self.outcome, self.asked = outcome, []

    def download(self, id=None, output=None, resume=False):
        self.asked.append((id, resume))
        if isinstance(self.outcome, Exception):
            raise self.outcome
        if self.outcome is None:
            return None
        with open(output, "wb") as file:
            file.write(self.outcome)
        return output


@pytest.mark.parametrize(
    "outcome, reason",
    [
        (RuntimeError("Cannot retrieve the public link\nof the file"), "Cannot retrieve the public link$"),
        (None, "often a quota"),
        (b"<!DOCTYPE html>", "a web page came instead"),
    ],
)
def test_google_drive_that_refuses_gives_way_to_the_mirror(server, tmp_path, monkeypatch, outcome, reason):
    import sys

    monkeypatch.setitem(sys.modules, "gdown", Drive(outcome))
    with pytest.raises(DownloadError, match=f"(?m){reason}"):
        fetch(["gdrive:1abc"], str(tmp_path / "a.bin"), accept)
    server.files["/a.bin"] = CONTENT
    fetch(["gdrive:1abc", f"{server.url}/a.bin"], str(tmp_path / "a.bin"), accept)
    assert names(tmp_path) == ["a.bin"]


def test_google_drive_gives_the_file(tmp_path, monkeypatch):
    import sys

    drive = Drive(CONTENT)
    monkeypatch.setitem(sys.modules, "gdown", drive)
    fetch(["gdrive:1abc"], str(tmp_path / "a.bin"), accept)
    assert drive.asked == [("1abc", True)] and (tmp_path / "a.bin").read_bytes() == CONTENT


def test_the_real_gdown_takes_the_arguments_used():
    import inspect

    gdown = pytest.importorskip("gdown")
    assert {"id", "output", "resume"} <= set(inspect.signature(gdown.download).parameters)
