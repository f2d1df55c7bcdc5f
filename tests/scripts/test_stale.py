"""The launcher's run is that of train.py, to the bit; and whether a finished run is the one that is wanted, judged on
what train.py itself writes."""

import shutil
import subprocess
import sys
from dataclasses import replace

import pytest
from chaos.lab import difference
from lib.launcher import Launcher
from lib.runs import ROOT, Run, state_of
from tiny_data import make_bank

QUICK = (("OPTIM.MAX_EPOCH", "1"), ("TEST.ALL_SUBSET", "20"), ("DATASET.NUM_SHOTS", "2"))
SMALL = (("TRAINER.SHIP.EPOCHS", "1"), ("TRAINER.SHIP.HIDDEN_DIM", "16"))


@pytest.fixture(scope="module")
def finished(tiny_bank, tmp_path_factory):
    """finished(trainer, task) -> a run that train.py made on the tiny bank, in a process of its own."""
    out = tmp_path_factory.mktemp("finished")

    def make(trainer, task="base2new"):
        options = QUICK + (SMALL if "SHIP" in trainer else ())
        run = Run(task, "caltech101", trainer, "miniclip", 1, 2, options, output=str(out), bank=str(tiny_bank))
        if not run.results.exists():
            subprocess.run([sys.executable, *run.command()], cwd=ROOT, capture_output=True, check=True)
        return run

    return make


@pytest.fixture(autouse=True)
def in_the_repository(monkeypatch):
    monkeypatch.chdir(ROOT)


def as_if(run, **changes):
    """What is told of `run`'s results where another run is wanted in their place."""
    other = replace(run, **changes)
    if other.folder != run.folder:
        shutil.copytree(run.results.parent, other.results.parent, dirs_exist_ok=True)
    return state_of(other)


@pytest.mark.parametrize("trainer", ["CoOp", "CLIP_Adapter"])
def test_a_run_of_the_launcher_is_to_the_bit_that_of_a_process_of_its_own(finished, trainer, tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    whole = finished(trainer)
    forked = replace(whole, output=str(tmp_path))
    assert Launcher([forked], [""]).run() == 0, forked.log.read_text()
    assert difference(whole.results.parent, forked.results.parent) == ""
    assert "* accuracy: " in forked.log.read_text()


@pytest.mark.parametrize("trainer", ["ZeroshotCLIP", "CoOp", "Tip_Adapter_F", "CoOp_SHIP_GATE"])
def test_the_same_run_is_done(finished, trainer):
    assert state_of(finished(trainer)).name == "done"


@pytest.mark.parametrize("task", ["gzsl", "leave_classes_out"])
def test_a_task_that_takes_the_base_half_by_itself_is_done(finished, task):
    assert state_of(finished("ZeroshotCLIP", task)).name == "done"


def test_another_run_is_stale_and_says_why(finished):
    run = finished("CoOp")
    state = as_if(run, options=(*QUICK[1:], ("OPTIM.MAX_EPOCH", "3")))
    assert state.name == "stale" and state.line.startswith("OPTIM.MAX_EPOCH was 1, is now 3; --force")
    assert "SEED was 1, is now 2" in as_if(run, seed=2).line
    assert "TASK was" in as_if(run, task="leave_classes_out").line
    halves = (*QUICK, ("DATASET.HALVES_SEED", "{seed}"))
    assert as_if(run, options=halves).line.startswith("DATASET.HALVES_SEED was -1, is now 1;")


def test_what_a_run_does_not_read_does_not_count(finished):
    run = finished("CoOp")
    foreign = (("TRAINER.PVA.KL_WEIGHT", "0.5"), ("VERBOSE", "False"), ("DATALOADER.NUM_WORKERS", "0"))
    assert as_if(run, options=run.options + foreign).name == "done"


def test_a_bank_counts_by_its_content(finished, tiny_bank, tmp_path, miniclip_backbone):
    run = finished("CoOp")
    same = shutil.copy(tiny_bank, tmp_path / "same.safetensors")
    assert as_if(run, bank=str(same)).name == "done"
    other = make_bank(tmp_path / "other.safetensors", miniclip_backbone, noise=1.0)
    for changes in ({"bank": str(other)}, {"bank": "", "data": "/data"}):
        assert "other images or another feature bank" in as_if(run, **changes).line
    assert "gone.safetensors" in as_if(run, bank=str(tmp_path / "gone.safetensors")).line
