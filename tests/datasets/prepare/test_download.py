"""Which of several sources a file comes from."""

import hashlib
import inspect
import sys

import pytest
from dassl.utils import UserError

from datasets.prepare.download import check_md5, fetch

CONTENT = bytes(range(256)) * 10


def check(path):
    check_md5(path, hashlib.md5(CONTENT).hexdigest())


def test_the_first_source_that_gives_the_right_file_is_used(server, tmp_path):
    server.files |= {"/wrong.bin": CONTENT[:-1], "/right.bin": CONTENT, "/unused.bin": CONTENT}
    sources = [f"{server.url}/{name}.bin" for name in ("gone", "wrong", "right", "unused")]
    with pytest.raises(UserError, match="(?s)gone.bin: .*HTTP 404.*wrong.bin: the file has the MD5 sum .*another one"):
        fetch(sources[:2], str(tmp_path / "D" / "a.bin"), check)
    assert not list((tmp_path / "D").iterdir())
    fetch(sources, str(tmp_path / "D" / "a.bin"), check)
    assert [path.read_bytes() for path in (tmp_path / "D").iterdir()] == [CONTENT]
    assert server.requests[-1][0] == "/right.bin"


def test_what_one_source_left_unfinished_is_not_continued_by_another(server, tmp_path):
    server.files |= {"/a.bin": [(b"x" * 99, {"cut": 50}), 503], "/b.bin": CONTENT}
    fetch([f"{server.url}/a.bin", f"{server.url}/b.bin"], str(tmp_path / "a.bin"), check)
    assert (tmp_path / "a.bin").read_bytes() == CONTENT and server.requests[-1] == ("/b.bin", None)


class Drive:
    """Stands for gdown, as there is no network: what its download() was asked, and what it does."""

    def __init__(self, outcome):
        self.outcome, self.asked = outcome, []

    def download(self, id, output, resume):
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
        (RuntimeError("Cannot retrieve the public link\nof the file"), "Cannot retrieve the public link of the file$"),
        (None, "often a quota"),
        (b"<!DOCTYPE html>", "MD5 sum"),
    ],
)
def test_google_drive_that_refuses_gives_way_to_the_mirror(server, tmp_path, monkeypatch, outcome, reason):
    monkeypatch.setitem(sys.modules, "gdown", Drive(outcome))
    with pytest.raises(UserError, match=f"(?m){reason}"):
        fetch(["gdrive:1abc"], str(tmp_path / "a.bin"), check)
    server.files["/a.bin"] = CONTENT
    fetch(["gdrive:1abc", f"{server.url}/a.bin"], str(tmp_path / "a.bin"), check)
    assert [path.name for path in tmp_path.iterdir()] == ["a.bin"]


def test_google_drive_gives_the_file(tmp_path, monkeypatch):
    drive = Drive(CONTENT)
    monkeypatch.setitem(sys.modules, "gdown", drive)
    fetch(["gdrive:1abc"], str(tmp_path / "a.bin"), check)
    assert drive.asked == [("1abc", True)] and (tmp_path / "a.bin").read_bytes() == CONTENT


def test_the_real_gdown_takes_the_arguments_used():
    gdown = pytest.importorskip("gdown")
    assert {"id", "output", "resume"} <= set(inspect.signature(gdown.download).parameters)
