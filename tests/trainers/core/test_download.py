"""Downloads from a server on this machine that can cut, refuse and misbehave."""

import hashlib

import pytest
from helpers.http_server import serving

from trainers.core.download import download
from trainers.core.files import UserError

CONTENT = bytes(range(256)) * 1000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def server(monkeypatch):
    with serving(monkeypatch) as running:
        yield running


def got(server, folder, answers, sha256=SHA256):
    """The content of the one file that is in `folder` after a download of what the server `answers`."""
    server.files["/a.bin"] = answers
    download(f"{server.url}/a.bin", str(folder / "a.bin"), sha256)
    assert [path.name for path in folder.iterdir()] == ["a.bin"]
    return (folder / "a.bin").read_bytes()


@pytest.mark.parametrize(
    "answers, ranges",
    [
        (CONTENT, [None]),
        ((CONTENT, {"length": False}), [None]),
        ([(CONTENT, {"cut": 90_000}), (CONTENT, {"cut": 50_000}), CONTENT], [None, "bytes=90000-", "bytes=140000-"]),
        ([(CONTENT, {"cut": 90_000}), (CONTENT, {"ranges": False})], [None, "bytes=90000-"]),
        ([(CONTENT + b"more", {"cut": len(CONTENT) + 2}), CONTENT], [None, f"bytes={len(CONTENT) + 2}-", None]),
        ([503, 429, CONTENT], [None] * 3),
    ],
    ids=["whole", "without a length", "cut twice", "without ranges", "part longer than the file", "busy"],
)
def test_the_file_arrives_whole(server, tmp_path, answers, ranges):
    assert got(server, tmp_path / "new", answers) == CONTENT
    assert [asked for _, asked in server.requests] == ranges


def test_a_later_call_goes_on_where_the_last_gave_up(server, tmp_path):
    with pytest.raises(
        UserError, match="HTTP Error 503: .*50000 bytes are kept in .*a.bin.part; the same command goes on"
    ):
        got(server, tmp_path, [(CONTENT, {"cut": 50_000}), 503])
    assert not (tmp_path / "a.bin").exists() and len(server.requests) == 5
    assert got(server, tmp_path, CONTENT) == CONTENT and server.requests[-1][1] == "bytes=50000-"


def test_a_wrong_file_is_removed_and_what_is_gone_is_not_asked_for_again(server, tmp_path):
    with pytest.raises(UserError, match=f"has the sha256 [0-9a-f]*, expected {SHA256}; it was removed"):
        got(server, tmp_path, b"something else")
    with pytest.raises(UserError, match=f"cannot download {server.url}/a.bin: HTTP Error 404: Not Found$"):
        got(server, tmp_path, 404)
    assert not list(tmp_path.iterdir()) and len(server.requests) == 2
