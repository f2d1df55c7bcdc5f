"""judge: whether results are those of the run that is wanted now, from what results.json keeps of its making."""

import hashlib
import json
import subprocess
import sys

import pytest
from lib import done, run
from lib.run import Place, Run

import train

HERE = Place()
RUN = Run("base2new", "caltech101", "CoOp", "miniclip", 1, options=(("DATASET.TEMPLATE", "a photo, of {}"),))


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A root with a configuration, a bank and the results of RUN."""
    monkeypatch.setattr(run, "ROOT", tmp_path)
    monkeypatch.setattr(done, "ROOT", tmp_path)
    for name in ("datasets/caltech101", "trainers/CoOp/miniclip", "base/all"):
        path = tmp_path / "configs" / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"# {name}\n")
    write_bank(tmp_path / "datasets/banks/caltech101_miniclip.safetensors", "a" * 64)
    finish(tmp_path)
    return HERE


def write_bank(path, digest):
    header = json.dumps({"__metadata__": {"digest": digest}}).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(len(header).to_bytes(8, "little") + header)


def finish(root, what=RUN, given=HERE, **more):
    bank = root / (given.bank or "datasets/banks/caltech101_miniclip.safetensors")
    texts = sorted((root / "configs").rglob("*.yaml"))
    record = {
        "metrics": {"base": 80.0},
        "backbone": {"name": "MiniCLIP", "sha256": "ab"},
        "command": what.command(given),
        "inputs": {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in texts},
        "identity": {"OPTIM.LR": 0.002},
        "bank": {
            "path": str(bank),
            "sha256": "a" * 64,
            "size": bank.stat().st_size,
            "mtime_ns": bank.stat().st_mtime_ns,
        },
        **more,
    }
    path = root / what.folder(given) / "results.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({**record, "digest": done.digest_of(record)}))
    return path


def verdict(place, what=RUN):
    found = done.judge(what, place)
    return found.state, found.why


def test_done_and_open(place):
    assert verdict(place) == ("done", "")
    assert verdict(place, Run("base2new", "caltech101", "CoOp", "miniclip", 2)) == ("open", "")


def test_options_of_the_same_folder_are_told_apart(place):
    other = Run(*("base2new", "caltech101", "CoOp", "miniclip", 1), options=(("DATASET.TEMPLATE", "a photo: of {}"),))
    assert other.folder(place) == RUN.folder(place)
    assert verdict(place, other) == ("stale", "DATASET.TEMPLATE was 'a photo, of {}', is now 'a photo: of {}'")


@pytest.mark.parametrize("name", ["trainers/CoOp/miniclip", "base/all"])
def test_a_configuration_that_changed(place, tmp_path, name):
    (tmp_path / f"configs/{name}.yaml").write_text("OPTIM: {LR: 0.1}\n")
    assert verdict(place) == ("stale", f"configs/{name}.yaml has changed since it was made")
    (tmp_path / f"configs/{name}.yaml").unlink()
    assert verdict(place)[0] == "stale"


def test_a_bank_counts_by_its_content(place, tmp_path):
    bank = tmp_path / "datasets/banks/caltech101_miniclip.safetensors"
    write_bank(tmp_path / "same.safetensors", "a" * 64)
    write_bank(tmp_path / "other.safetensors", "b" * 64)
    assert verdict(Place(bank=str(tmp_path / "same.safetensors"))) == ("done", "")
    assert verdict(Place(bank=str(tmp_path / "other.safetensors")))[0] == "stale"
    bank.touch()
    assert verdict(place) == ("done", "")
    write_bank(bank, "b" * 64)
    assert verdict(place) == ("stale", f"the bank {bank} is another one than it was made with")
    bank.unlink()
    assert verdict(place) == ("stale", f"the bank {bank} is gone")


def test_other_data(place):
    assert verdict(Place(data="/data")) == ("stale", "--root was not given, is now '/data'")


def test_a_hand_made_command_may_leave_out_what_the_files_say(place, tmp_path):
    what = Run("base2new", "caltech101", "CoOp", "miniclip", 1, options=(("OPTIM.LR", "0.002"),))
    words = [word for word in what.command(place) if word not in ("OPTIM.LR", "0.002")]
    finish(tmp_path, what, command=words)
    assert verdict(place, what) == ("done", "")
    finish(tmp_path, what, command=words, identity={"OPTIM.LR": 0.1})
    assert verdict(place, what) == ("stale", "OPTIM.LR was not given, is now '0.002'")


def test_a_source_that_was_made_anew_and_a_folder_that_was_moved(place, tmp_path):
    source = Run("fewshot", "caltech101", "CoOp", "miniclip", 1)
    target = Run("cross_dataset", "caltech101", "CoOp", "miniclip", 1, source=source, start=("MODEL.INIT_WEIGHTS",))
    of_source = finish(tmp_path, source)
    inputs = {str(of_source.relative_to(tmp_path)): hashlib.sha256(of_source.read_bytes()).hexdigest()}
    finish(tmp_path, target, inputs=inputs)
    assert verdict(place, target) == ("done", "")
    (tmp_path / "output").rename(tmp_path / "moved")
    moved = Place(output=str(tmp_path / "moved"))
    assert verdict(moved, target) == ("done", "")
    finish(tmp_path, source, moved, metrics={"accuracy": 1.0})
    assert verdict(moved, target)[0] == "stale"


def test_edited_damaged_and_old_results(place, tmp_path):
    path = tmp_path / RUN.folder(place) / "results.json"
    found = json.loads(path.read_text())
    path.write_text(json.dumps({**found, "metrics": {"base": 90.0}}))
    assert verdict(place) == ("stale", "results.json was edited after it was written")
    path.write_text("{")
    assert verdict(place)[0] == "stale" and "damaged" in verdict(place)[1]
    record = {**found, "inputs": 3}
    path.write_text(json.dumps({**record, "digest": done.digest_of(record)}))
    assert verdict(place)[0] == "stale" and "damaged" in verdict(place)[1]
    path.write_text(json.dumps({"metrics": {"base": 80.0}}))
    assert verdict(place)[0] == "done"


def test_without_pytorch():
    code = "import sys; import lib.done; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], cwd=run.ROOT / "scripts", check=True)


def test_it_judges_what_train_py_writes(tmp_path, monkeypatch):
    """One real run, by the launcher's command."""
    what = Run("base2new", "eurosat", "ZeroshotCLIP", "miniclip", 1)
    here = Place(output=str(tmp_path))
    monkeypatch.chdir(run.ROOT)
    train.main([*what.command(here)[1:], "TEST.ALL_SUBSET", "50", "VERBOSE", "False"])
    assert verdict(here, what) == ("stale", "TEST.ALL_SUBSET was '50', is now not given")
    asked = Run(*("base2new", "eurosat", "ZeroshotCLIP", "miniclip", 1))
    words = what.command(here)
    monkeypatch.setattr(Run, "command", lambda self, place: [*words, "TEST.ALL_SUBSET", "50", "VERBOSE", "False"])
    assert verdict(here, asked) == ("done", "")
