"""scripts/base2new.sh and fewshot.sh: usage, the command line they make, and that a finished run is not made again."""

import pytest


@pytest.mark.parametrize("script", ["base2new.sh", "fewshot.sh"])
@pytest.mark.parametrize("arguments, code", [((), 2), (("caltech101",), 2), (("-h",), 0)])
def test_usage_lists_what_there_is(checkout, script, arguments, code):
    result = checkout.run(script, *arguments)
    text = result.stdout if code == 0 else result.stderr
    assert result.returncode == code
    assert f"usage: bash scripts/{script} DATASET SEED" in text
    assert "caltech101" in text and "eurosat" in text
    assert "CoOp_SHIP            miniclip" in text


def test_defaults(ready):
    assert ready.run("base2new.sh", "caltech101", "1").returncode == 0
    (call,) = ready.calls("train.py")
    assert call == (
        "train.py --seed 1 --trainer CoOp_SHIP --dataset-config-file configs/datasets/caltech101.yaml "
        "--config-file configs/trainers/CoOp_SHIP/miniclip.yaml "
        "--output-dir output/base2new/caltech101/shots_16/CoOp_SHIP/miniclip/seed1 "
        "RUN.DATASET caltech101 RUN.CONFIG miniclip "
        "TASK base2new DATASET.NUM_SHOTS 16 DATASET.SUBSAMPLE_CLASSES base"
    )


def test_a_finished_run_is_skipped_and_an_unfinished_one_is_not(ready):
    folder = ready.root / "output/base2new/eurosat/shots_16/CoOp/miniclip/seed2"
    folder.mkdir(parents=True)
    (folder / "log.txt").touch()  # a run that broke off
    arguments = ("base2new.sh", "eurosat", "2", "CoOp")
    ready.run(*arguments)
    assert len(ready.calls("train.py")) == 1
    again = ready.run(*arguments)
    assert again.returncode == 0 and "done already: output/base2new/eurosat" in again.stdout
    assert ready.calls("train.py") == []


def test_environment_variables(ready, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    where = tmp_path / "elsewhere"
    ready.run("base2new.sh", "caltech101", "3", "CoOp", cwd=where, DATA="images", OUTPUT="results", SHOTS="4")
    (call,) = ready.calls("train.py")
    assert call.startswith(f"train.py --root {where}/images --seed 3 ")
    assert f"--output-dir {where}/results/base2new/caltech101/shots_4/CoOp/miniclip/seed3 " in call
    assert "DATASET.NUM_SHOTS 4 " in call


def test_options_pass_through_and_name_their_own_folder(ready):
    ready.run("base2new.sh", "caltech101", "1", "CoOp")
    ready.run("base2new.sh", "caltech101", "1", "CoOp", "--", "TRAINER.COOP.CTX_INIT", "a photo")
    plain, other = ready.calls("train.py")
    assert other.endswith(" base TRAINER.COOP.CTX_INIT a photo")
    assert "/CoOp/miniclip/seed1 " in plain
    assert "/CoOp/miniclip-TRAINER.COOP.CTX_INIT=a_photo/seed1 " in other


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("caltech", "1"), "no dataset 'caltech'"),
        (("caltech101", "one"), "SEED is a whole number, found 'one'"),
        (("caltech101", "1", "CoOop"), "of trainer 'CoOop'"),
        (("caltech101", "1", "CoOp", "vit_b16"), "no configuration 'vit_b16'"),
        (("caltech101", "1", "--", "OPTIM.LR"), "pairs KEY VALUE"),
        (("caltech101", "1", "--", "DATASET.TEMPLATE", 250 * "a"), "Put them into a configuration file"),
        (("caltech101", "1", "--job", "2"), "unrecognized arguments: --job"),
        (("caltech101", "1", "--jobs", "two"), "JOBS is the number of runs side by side"),
    ],
)
def test_wrong_arguments(ready, arguments, message):
    result = ready.run("base2new.sh", *arguments)
    assert result.returncode == 2
    assert result.stderr.startswith("error: ") and message in result.stderr
    assert ready.calls("train.py") == []


def test_fewshot_runs_all_shots(ready):
    assert ready.run("fewshot.sh", "eurosat", "1", "CoOp", SHOTS="2").returncode == 0
    ready.calls("")
    assert ready.run("fewshot.sh", "eurosat", "1", "CoOp").returncode == 0
    calls = ready.calls("train.py")
    assert [call.split("DATASET.NUM_SHOTS ")[1] for call in calls] == [
        f"{shots} DATASET.SUBSAMPLE_CLASSES all" for shots in (1, 4, 8, 16)
    ]
    assert all(" TASK fewshot " in call for call in calls)


def test_fewshot_with_other_shots(ready):
    ready.run("fewshot.sh", "eurosat", "1", "CoOp", SHOTS="3 5")
    assert len(ready.calls("train.py")) == 2


def test_without_a_set_up_it_says_what_to_run(checkout):
    result = checkout.run("base2new.sh", "caltech101", "1")
    assert result.returncode == 2 and "bash scripts/setup.sh" in result.stderr


def test_an_unfinished_set_up_is_not_used(checkout):
    checkout.run("setup.sh", FAKE_PIP_FAILS="1")
    assert checkout.run("base2new.sh", "caltech101", "1").returncode == 2


def test_an_active_environment_is_used(checkout):
    assert checkout.run("base2new.sh", "caltech101", "1", CONDA_PREFIX="/opt/conda").returncode == 0
    assert len(checkout.calls("train.py")) == 1


def test_a_failing_run_fails_the_script_but_not_the_other_runs(ready):
    result = ready.run("fewshot.sh", "eurosat", "1", "CoOp", FAKE_FAILS="shots_2")
    assert result.returncode == 3 and len(ready.calls("train.py")) == 5
    assert "4 done, 1 failed" in result.stdout
    assert "failed: CoOp/miniclip on eurosat, 2 shots, seed 1: exit code 3; error: the data are gone" in result.stderr
    again = ready.run("fewshot.sh", "eurosat", "1", "CoOp")
    assert again.returncode == 0 and len(ready.calls("train.py")) == 1


def test_a_run_that_ends_without_results_failed(ready):
    result = ready.run("base2new.sh", "eurosat", "1", FAKE_NO_RESULTS="1")
    assert result.returncode == 1 and "it ended without results.json" in result.stderr


def test_a_dry_run_prints_the_commands_alone(ready):
    ready.run("fewshot.sh", "eurosat", "1", "CoOp", SHOTS="2")
    (call,) = ready.calls("train.py")
    result = ready.run("fewshot.sh", "eurosat", "1", "CoOp", "--dry-run", SHOTS="2 4")
    done, command = result.stdout.splitlines()
    assert done == "# done: output/fewshot/eurosat/shots_2/CoOp/miniclip/seed1"
    assert command == "python " + call.replace("shots_2", "shots_4").replace("NUM_SHOTS 2", "NUM_SHOTS 4")
    assert ready.calls("train.py") == []


def test_the_interpreter_of_the_environment_may_be_missing_for_help_alone(checkout):
    assert checkout.run("base2new.sh", "--help").returncode == 0
    result = checkout.run("base2new.sh", "--help", FAKE_OLD="1")
    assert result.returncode == 2 and "bash scripts/setup.sh" in result.stderr
