"""A folder is gone on with, or called done, only by the run that began it: whatever else differs is named."""

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


def command(files, out, *options):
    """CoOp_SHIP with names, a template and a configuration file of its own."""
    words = argv(files / "bank.safetensors", out, "CoOp_SHIP", *TEMPLATE, *options)
    words += ["TRAINER.SHIP.NEW_CLASSES", str(files / "names.txt")]
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


TRICKS = {
    "SEED was 1, is now 2": ["SEED", "2"],
    "OPTIM.LR was 0.002, is now 0.1": ["OPTIM.LR", "0.1"],
    "'a photo, of {}', is now 'a photo: of {}'": ["DATASET.TEMPLATE", "a photo: of {}"],  # the same folder
    "was 'last_step', is now 'best_val'": ["TEST.FINAL_MODEL", "best_val"],
    "OPTIM.GAMMA": lambda folder, _: (folder / "below.yaml").write_text("OPTIM: {GAMMA: 0.2}\n"),
    "TRAINER.SHIP.NEW_CLASSES was": lambda folder, _: (folder / "names.txt").write_text("zebra\ntiger\n"),
    "images was": lambda folder, backbone: make_bank(folder / "bank.safetensors", backbone, noise=1.4),
}


@pytest.mark.parametrize("state", ["killed", "finished"])
@pytest.mark.parametrize("words", TRICKS)
def test_another_run_is_refused_by_name_and_changes_nothing(begun, miniclip_backbone, words, state):
    change = TRICKS[words]
    if callable(change):
        change(begun, miniclip_backbone)
    before = {path: path.read_bytes() for path in (begun / state).rglob("*") if path.is_file()}
    with pytest.raises(UserError) as error:
        train.main(command(begun, begun / state, *([] if callable(change) else change)))
    assert words in str(error.value) and "--force" in str(error.value) and "--output-dir" in str(error.value)
    after = {path: path.read_bytes() for path in (begun / state).rglob("*") if path.is_file()}
    assert {path: after[path] for path in before} == before
    assert all(path.name.startswith("log.txt-") for path in after.keys() - before.keys())


def test_what_does_not_matter_may_differ(begun, capsys):
    neutral = "DATALOADER.NUM_WORKERS 1 TRAIN.PRINT_FREQ 1 TRAIN.CHECKPOINT_SECONDS 9.0 RUN.CONFIG other".split()
    train.main(command(begun, begun / "killed", *neutral))
    assert "resumed" in log(begun / "killed") and same_state(begun / "killed", begun / "finished")
    for field in ("metrics", "identity"):
        assert results(begun / "killed")[field] == results(begun / "finished")[field]
    train.main(command(begun, begun / "finished", *neutral))
    assert "done already" in capsys.readouterr().out


def test_force_keeps_what_was_there(begun):
    before = results(begun / "finished")
    for number in (1, 2):
        train.main(["--force", *command(begun, begun / "finished", "OPTIM.LR", "0.1")])
        assert (begun / f"finished.replaced-{number}/prompt_learner").is_dir()
    assert results(begun / "finished.replaced-1") == before
    assert results(begun / "finished")["identity"]["OPTIM.LR"] == 0.1
    (begun / "else").mkdir()
    (begun / "else/thesis.tex").write_text("")
    with pytest.raises(UserError, match="no run's folder"):
        train.main(["--force", *command(begun, begun / "else")])


def test_the_identity_is_plain_and_everywhere_and_results_say_where_they_come_from(whole):
    record = results(whole / "finished")
    found = record["identity"]
    assert all(value is None or isinstance(value, (bool, int, float, str)) for value in found.values())
    assert not {"OUTPUT_DIR", "FEATURES.BANK", "RUN.CONFIG"} & found.keys() and found["OPTIM.WEIGHT_DECAY"] == 0.0004
    files = [*(whole / "finished").glob("*/*.pth.tar*"), *(whole / "killed").glob("*/*.pth.tar*")]
    assert len(files) == 4 and {path.parent.name for path in files} == {"generator", "prompt_learner"}
    assert all(torch.load(path, weights_only=True)["identity"] == found for path in files)
    assert record["digest"] == digest_of(record) and {"train.py", *TEMPLATE} <= {*record["command"]}
    assert record["bank"]["path"] == str(whole / "bank.safetensors") and len(record["bank"]["sha256"]) == 64


def test_what_tells_two_identities_apart():
    """A key that only this version knows is compared with its default; one that is gone must have done nothing."""
    defaults, sections = {"OPTIM.NEW": 1}, ["COOP", "SHIP"]

    def differences(own, recorded):
        return identity.differences(own, recorded, defaults, sections)

    assert differences({"SEED": 1, "OPTIM.NEW": 1}, {"SEED": 1}) == []
    assert differences({"OPTIM.NEW": 3}, {"SEED": 1}) == [
        "OPTIM.NEW was 1, is now 3",
        "SEED was 1, and this version has no such option",
    ]
    assert differences({}, {"TRAINER.SHIP.EPISODES": False, "TRAINER.PVA.KEEP": 0.9}) == []
    assert len(differences({}, {"TRAINER.SHIP.EPISODES": True})) == 1
