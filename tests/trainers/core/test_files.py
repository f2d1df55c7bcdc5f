"""The bottom of the code: atomic writes, results.json, lists of names."""

import errno
import os

import pytest

from trainers.core import files
from trainers.core.files import UserError, read_names, replacing, require_different

RECORD = {"metrics": {"base": 80.0, 1: float("nan")}, "backbone": {"sha256": "ab"}, "names": ("größer", "\ud800")}


def test_a_disk_that_refuses_leaves_what_was_there(tmp_path):
    (tmp_path / "file").write_text("before")
    with pytest.raises(OSError, match="No space left"), replacing(tmp_path / "file") as part:
        part.write_text("half")
        raise OSError(errno.ENOSPC, "No space left on device")
    assert os.listdir(tmp_path) == ["file"] and (tmp_path / "file").read_text() == "before"


def test_results_are_json_without_nan_and_an_edited_one_is_refused(tmp_path):
    path = tmp_path / "results.json"
    files.write_results(path, RECORD)
    assert "NaN" not in path.read_text() and files.read_results(path)["metrics"] == {"base": 80.0, "1": None}
    assert files.results_beside(tmp_path / "head/model.pth.tar-3")["names"][0] == "größer"
    path.write_text(path.read_text().replace("80.0", "90.0"))
    with pytest.raises(UserError, match="results.json is damaged .*edited.*remove it"):
        files.read_results(path)


def test_a_list_of_names(tmp_path):
    path = tmp_path / "names.txt"
    path.write_bytes("\ufeff# new classes\r\nant\r\n\r\n  sea\u00a0horse \r\n#crab\r\n".encode())
    assert read_names(path, "KEY") == ["ant", "sea\u00a0horse"]
    for content, problem in (
        ("ant\n".encode("utf-16"), "cannot be read .*'utf-8' codec"),
        (b"# no\n\n", "holds no name"),
    ):
        path.write_bytes(content)
        with pytest.raises(UserError, match=f"KEY {path} {problem}.*it must be a text file"):
            read_names(path, "KEY")
    with pytest.raises(UserError, match=f"KEY {tmp_path} cannot be read .*Is a directory"):
        read_names(tmp_path, "KEY")
    require_different(["a", "b"], ["c"], "here")
    with pytest.raises(UserError, match="here: 'Grand_piano' repeats the class 'grand piano'"):
        require_different(["b", "Grand_piano"], ["grand piano"], "here")
