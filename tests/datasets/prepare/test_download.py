"""Which of several sources a file comes from."""

import hashlib
import inspect

import pytest
from dassl.utils import UserError

from datasets.prepare.download import check_md5, fetch

CONTENT = bytes(range(256)) * 10


def check(path):
    check_md5(path, hashlib.md5(CONTENT).hexdigest())


def test_the_first_source_that_gives_the_right_file_is_used(server, tmp_path):
    server.files |= {"/wrong.bin": CONTENT[:-1], "/right.bin": CONTENT, "/unused.bin": CONTENT}
    sources = [f"{server.url}/{name}.bin" for name in ("gone", "wrong", "right", "unused")]
    with pytest.raises(
        UserError, match="(?s)gone.bin: .*HTTP Error 404.*wrong.bin: the file has the MD5 sum .*another one"
    ):
        fetch(sources[:2], str(tmp_path / "D" / "a.bin"), check)
    assert not list((tmp_path / "D").iterdir())
    fetch(sources, str(tmp_path / "D" / "a.bin"), check)
    assert [path.read_bytes() for path in (tmp_path / "D").iterdir()] == [CONTENT]
    assert server.requests[-1][0] == "/right.bin"


def test_the_real_gdown_takes_the_arguments_used():
    gdown = pytest.importorskip("gdown")
    assert {"id", "output", "resume"} <= set(inspect.signature(gdown.download).parameters)
