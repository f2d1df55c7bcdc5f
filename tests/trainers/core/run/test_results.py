"""results.json: its digest, and what is read of damaged ones."""

import json

import pytest
from dassl.utils import UserError

from trainers.core.run import results

RECORD = {"metrics": {"base": 80.0, 1: float("nan")}, "backbone": {"sha256": "ab"}, "names": ("größer", "\ud800")}


def test_what_is_written_is_read_and_an_edited_one_is_refused(tmp_path):
    path = tmp_path / "results.json"
    results.write(path, RECORD)
    assert results.read(path)["metrics"]["base"] == 80.0 and results.read_source(tmp_path)["names"][0] == "größer"
    path.write_text(path.read_text().replace("80.0", "90.0"))
    with pytest.raises(UserError, match="results.json is damaged .*edited.*remove it"):
        results.read(path)


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"\xff", b"[]", b"{}", b'{"metrics": 1}', b'{"metrics": {}, "backbone": "x"}', b"[" * 100_000]
    + [b'{"metrics": {}, "backbone": {"sha256": 3}}', b'{"metrics": {}, "digest": 4}'],
    ids=lambda content: content[:30].decode("latin1"),
)
def test_a_damaged_one_is_a_sentence(tmp_path, content):
    (tmp_path / "results.json").write_bytes(content)
    with pytest.raises(UserError, match="results.json is damaged"):
        results.read_source(tmp_path / "head/model.pth.tar-3")


def test_the_digest_is_that_of_the_file(tmp_path):
    results.write(tmp_path / "results.json", RECORD)
    found = json.loads((tmp_path / "results.json").read_text())
    assert found["digest"] == results.digest_of(found)
