"""A folder is gone on with, or called done, only by the run that began it: whatever else differs is named."""

import json
import shutil

import pytest
import torch
from dassl.utils import UserError
from runs import argv, log, results, same_state, train_killed_before_epoch
from tiny_data import make_bank

import train
from trainers.core import identity
from trainers.core.files import digest_of

TEMPLATE = ("DATASET.TEMPLATE", "a photo, of {}")  # a folder's name has "_" for the comma, and for a colon


def command(files, out, *options, seed=1, bank=None):
    """CoOp_SHIP with names, a template and a configuration file of its own."""
    given = ("TRAINER.SHIP.NEW_CLASSES", str(files / "names.txt"), *TEMPLATE)
    words = argv(bank or files / "bank.safetensors", out, "CoOp_SHIP", *given, *options, seed=seed)
    at = words.index("--output-dir")
    return [*words[:at], "--config-file", str(files / "own.yaml"), *words[at:]]


@pytest.fixture(scope="module")
def whole(tmp_path_factory, tiny_bank):
    """A folder with a run that is finished, one that was killed, and what they read."""
    folder = tmp_path_factory.mktemp("identity")
    shutil.copy(tiny_bank, folder / "bank.safetensors")
    (folder / "names.txt").write_text("zebra\nlion\n")
    (folder / "own.yaml").write_text("_BASE_: below.yaml\n")
    (folder / "below.yaml").write_text("OPTIM: {WEIGHT_DECAY: 0.0004}\n")
    train.main(command(folder, folder / "finished"))
    with pytest.MonkeyPatch.context() as patch:
        train_killed_before_epoch(patch, 2, command(folder, folder / "killed"))
    return folder


@pytest.fixture
def begun(whole, tmp_path):
    """A copy of both, at the same place seen from each: paths do not count."""
    shutil.copytree(whole, tmp_path / "begun")
    return tmp_path / "begun"


def other_bank(folder, backbone):
    make_bank(folder / "bank.safetensors", backbone, noise=1.4)


TRICKS = {
    "seed": (["SEED", "2"], "SEED was 1, is now 2"),
    "learning rate": (["OPTIM.LR", "0.1"], "OPTIM.LR was 0.002, is now 0.1"),
    "template of the same folder": (
        ["DATASET.TEMPLATE", "a photo: of {}"],
        "'a photo, of {}', is now 'a photo: of {}'",
    ),
    "selection": (["TEST.FINAL_MODEL", "best_val"], "was 'last_step', is now 'best_val'"),
    "a configuration file": (
        lambda folder, _: (folder / "below.yaml").write_text("OPTIM: {GAMMA: 0.2}\n"),
        "OPTIM.GAMMA",
    ),
    "names": (lambda folder, _: (folder / "names.txt").write_text("zebra\ntiger\n"), "TRAINER.SHIP.NEW_CLASSES was"),
    "bank": (other_bank, "images was"),
}


@pytest.mark.parametrize("state", ["killed", "finished"])
@pytest.mark.parametrize("trick", TRICKS)
def test_another_run_is_refused_by_name_and_changes_nothing(begun, miniclip_backbone, trick, state):
    change, words = TRICKS[trick]
    options = change if isinstance(change, list) else []
    if not options:
        change(begun, miniclip_backbone)
    before = {path: path.read_bytes() for path in (begun / state).rglob("*") if path.is_file()}
    with pytest.raises(UserError) as error:
        train.main(command(begun, begun / state, *options))
    assert words in str(error.value) and "--force" in str(error.value) and "--output-dir" in str(error.value)
    after = {path: path.read_bytes() for path in (begun / state).rglob("*") if path.is_file()}
    assert {path: after[path] for path in before} == before
    assert all(path.name.startswith("log.txt-") for path in after.keys() - before.keys())


def test_what_does_not_matter_may_differ(begun):
    neutral = "DATALOADER.NUM_WORKERS 1 TRAIN.PRINT_FREQ 1 TRAIN.CHECKPOINT_SECONDS 9.0 RUN.CONFIG other".split()
    train.main(command(begun, begun / "killed", *neutral))
    assert "resumed" in log(begun / "killed")
    assert results(begun / "killed")["metrics"] == results(begun / "finished")["metrics"]
    assert same_state(begun / "killed", begun / "finished")
    assert results(begun / "killed")["identity"] == results(begun / "finished")["identity"]


def test_force_keeps_what_was_there(begun, capsys):
    before = results(begun / "finished")
    train.main(command(begun, begun / "finished"))
    assert "done already" in capsys.readouterr().out
    for number in (1, 2):
        train.main(["--force", *command(begun, begun / "finished", "OPTIM.LR", "0.1")])
        assert (begun / f"finished.replaced-{number}/prompt_learner").is_dir()
    assert results(begun / "finished.replaced-1") == before
    assert results(begun / "finished")["identity"]["OPTIM.LR"] == 0.1
    (begun / "else").mkdir()
    (begun / "else/thesis.tex").write_text("")
    with pytest.raises(UserError, match="no run's folder"):
        train.main(["--force", *command(begun, begun / "else")])


def test_the_identity_is_plain_and_everywhere(whole):
    found = results(whole / "finished")["identity"]
    assert all(value is None or isinstance(value, (bool, int, float, str)) for value in found.values())
    assert not {"OUTPUT_DIR", "FEATURES.BANK", "RUN.CONFIG"} & found.keys() and found["OPTIM.WEIGHT_DECAY"] == 0.0004
    files = [*(whole / "finished").glob("*/*.pth.tar*"), *(whole / "killed").glob("*/*.pth.tar*")]
    assert len(files) == 4 and {path.parent.name for path in files} == {"generator", "prompt_learner"}
    assert all(torch.load(path, weights_only=True)["identity"] == found for path in files)


def test_results_say_where_they_come_from(whole):
    found = json.loads((whole / "finished/results.json").read_text())
    assert found["digest"] == digest_of(found) and found["command"][0] == "train.py"
    assert TEMPLATE[1] in found["command"] and found["clean_tree"] in (True, False, None)
    names = {path.rpartition("/")[2] for path in found["inputs"]}
    assert {"caltech101.yaml", "own.yaml", "below.yaml", "names.txt"} <= names
    assert found["bank"]["path"] == str(whole / "bank.safetensors") and len(found["bank"]["sha256"]) == 64


def test_what_tells_two_identities_apart(capsys):
    """A key that only this version knows is compared with its default; one that is gone must have done nothing."""
    defaults, sections = {"OPTIM.NEW": 1}, ["COOP", "SHIP"]

    def differences(own, recorded):
        return identity.differences(own, recorded, defaults, sections)

    assert differences({"SEED": 1, "OPTIM.NEW": 1}, {"SEED": 1}) == []
    assert differences({"SEED": 2, "OPTIM.NEW": 3}, {"SEED": 1}) == [
        "SEED was 1, is now 2",
        "OPTIM.NEW was 1, is now 3",
    ]
    assert differences({}, {"TRAINER.SHIP.EPISODES": False, "TRAINER.PVA.KEEP": 0.9}) == []
    (gone,) = differences({}, {"TRAINER.SHIP.EPISODES": True})
    assert "this version has no such option" in gone
    identity.require_same({"SEED": 1}, None, {}, [], "x")
    assert "whether they fit is not checked" in capsys.readouterr().out
