"""Lists of runs: scripts/sweep.py, table1.sh and the files of configs/sweeps/."""

from pathlib import Path

import pytest
from lib import choices, sweeps
from lib.protocols import PAPER_DATASETS
from lib.run import Place, UserError

import train

ROOT = Path(__file__).resolve().parents[2]
MINE = """
task: base2new
datasets: [eurosat]
seeds: [1, 2]
variants:
- {trainer: CoOp, options: {OPTIM.LR: 0.10}}
- {trainer: CoOp_SHIP}
"""


@pytest.fixture
def mine(ready):
    path = ready.root / "mine.yaml"
    path.write_text(MINE)
    return path


def folders(calls):
    return [call.split("--output-dir output/")[1].split()[0] for call in calls]


def test_a_sweep_runs_every_variant_with_every_seed(ready, mine):
    assert ready.run("sweep.py", str(mine)).returncode == 0
    where = "base2new/eurosat/shots_16"
    assert folders(ready.calls("train.py")) == [
        f"{where}/{name}/seed{seed}"
        for seed in (1, 2)
        for name in ("CoOp/miniclip-OPTIM.LR=0.10", "CoOp_SHIP/miniclip")
    ]
    assert ready.run("sweep.py", str(mine), "--dry-run").stdout.count("# done") == 4


def test_set_changes_the_sweep_or_gives_all_runs_an_option(ready, mine):
    changes = ["seeds=3", "datasets=caltech101 eurosat", "shots=4", "OPTIM.MAX_EPOCH=1", "USE_CUDA=False"]
    ready.run("sweep.py", str(mine), *(word for change in changes for word in ("--set", change)))
    calls = ready.calls("train.py")
    assert folders(calls)[0] == (
        "base2new/caltech101/shots_4/CoOp/miniclip-OPTIM.MAX_EPOCH=1-USE_CUDA=False-OPTIM.LR=0.10/seed3"
    )
    assert len(calls) == 4 and all("OPTIM.MAX_EPOCH 1 USE_CUDA False" in call for call in calls)


def test_a_sweep_counts_its_failures(ready, mine):
    result = ready.run("sweep.py", str(mine), "--jobs", "2", FAKE_FAILS="/CoOp_SHIP/")
    assert result.returncode == 3 and "2 done, 2 failed" in result.stdout
    assert len(ready.calls("train.py")) == 4  # nothing is tried again


def test_a_sweep_with_a_report_prints_its_table(ready):
    ready.run("sweep.py", "ablation6", "--set", "seeds=1")
    assert ready.calls("scripts/report.py") == [
        "scripts/report.py --table 6 output/base2new/caltech101 output/base2new/eurosat"
    ]


@pytest.mark.parametrize(
    "change, message",
    [
        ("method=CoOp", "'method' cannot be set"),
        ("seeds=one", "a seed is a whole number, found 'one'"),
        ("seeds", "--set takes KEY=VALUE"),
        ("datasets=euro", "no dataset 'euro'"),
        ("cfg=huge", "no configuration 'huge' of trainer 'CoOp'"),
    ],
)
def test_wrong_changes(ready, mine, change, message):
    result = ready.run("sweep.py", str(mine), "--set", change)
    assert result.returncode == 2 and message in result.stderr and ready.calls("train.py") == []


@pytest.mark.parametrize(
    "text, message",
    [
        ("task: base2new", "needs the field 'datasets'"),
        (MINE + "job: 2", "a sweep has no field 'job'"),
        (MINE.replace("trainer", "method"), "a variant has no field 'method'"),
        (MINE.replace("0.10", "[0.1, 0.2]"), "quote it"),
        (MINE.replace("[1, 2]", "1"), "`seeds` should be a list"),
        (MINE.replace("CoOp_SHIP}", "CoOp_SHIP, start: [MODEL.INIT_WEIGHTS]}"), "needs a `source`"),
        ("a: [", "is not YAML"),
        ('{"a":' * 20_000, "is not YAML"),
        ("word " * 20_000, "a sweep should be a table of fields, found 'word word"),
    ],
)
def test_wrong_files(ready, text, message):
    path = ready.root / "wrong.yaml"
    path.write_text(text)
    result = ready.run("sweep.py", str(path))
    assert result.returncode == 2 and message in result.stderr and "Traceback" not in result.stderr
    assert len(result.stderr) < 6000


def test_an_unknown_sweep_lists_those_that_there_are(ready):
    result = ready.run("sweep.py", "tabel1")
    assert result.returncode == 2 and "table1" in result.stderr


# ------------------------------------------------------------------------------------------------ table1.sh


def test_table1_runs_every_method_and_prints_the_table(ready):
    ready.add_configs(*(f"trainers/{variant.trainer}/miniclip" for variant in sweeps.load("table1").variants))
    assert ready.run("table1.sh", "eurosat", SEEDS="1 2", JOBS="4").returncode == 0
    calls = ready.calls("train.py")
    assert len(calls) == 22 and all("/miniclip/" in folder for folder in folders(calls))
    assert not ready.calls("scripts/report.py")  # both were in the log that the look above took


def test_table1_takes_methods_with_a_configuration_of_their_own(ready):
    ready.add_configs("trainers/CoOp/vit_b16", "trainers/CoOp_SHIP/vit_b16_long")
    ready.run("table1.sh", "eurosat", METHODS="CoOp CoOp_SHIP/vit_b16_long", SEEDS="3", CFG="vit_b16", JOBS="1")
    assert folders(ready.calls("train.py")) == [
        "base2new/eurosat/shots_16/CoOp/vit_b16/seed3",
        "base2new/eurosat/shots_16/CoOp_SHIP/vit_b16_long/seed3",
    ]


def test_all_missing_configurations_are_named_before_anything_runs(ready):
    ready.add_configs("trainers/CoOp/vit_b16")
    result = ready.run("table1.sh", "eurosat", METHODS="CoOp ZeroshotCLIP CoOp_SHIP", CFG="vit_b16")
    assert result.returncode == 2 and ready.calls("train.py") == []
    for name in ("ZeroshotCLIP", "CoOp_SHIP"):
        assert result.stderr.count(f"no configuration 'vit_b16' of trainer '{name}'") == 1


def test_a_shorter_name_stands_in_for_one_that_another_trainer_has(ready):
    ready.add_configs("trainers/CoOp/vit_b16_ctxv1", "trainers/ZeroshotCLIP/vit_b16")
    ready.run("table1.sh", "eurosat", METHODS="CoOp ZeroshotCLIP", CFG="vit_b16_ctxv1", SEEDS="1", JOBS="1")
    assert [folder.split("/")[4] for folder in folders(ready.calls("train.py"))] == ["vit_b16_ctxv1", "vit_b16"]
    typing_error = ready.run("table1.sh", "eurosat", METHODS="CoOp ZeroshotCLIP", CFG="vit_b16_ctxv9")
    assert typing_error.returncode == 2 and "no configuration 'vit_b16_ctxv9'" in typing_error.stderr


# ------------------------------------------------------------------------------------------------ the files


@pytest.mark.parametrize("name", sweeps.names())
@pytest.mark.parametrize("family", ["miniclip", "vit_b16"])
def test_every_sweep_resolves_with_both_backbones(name, family):
    sweep = sweeps.load(name).changed("cfg", family)
    if sweep.task == "base2new":
        sweep = sweep.changed("datasets", " ".join(PAPER_DATASETS))
    runs = sweep.runs()
    choices.check(runs)
    assert len({run.config + run.trainer + run.dataset + str(run.seed) for run in runs}) == len(runs)
    assert all(run.cfg.startswith(family) for run in runs)
    for run in runs[: len(sweep.variants)]:  # each variant's options are known, and of the right type
        train.setup_cfg(train.parse_args(run.command(Place(data="data"))[1:]))


def test_the_third_tables_settings_are_the_longer_files_where_there_are_some():
    cfgs = {run.trainer: run.cfg for run in sweeps.load("table3").changed("cfg", "vit_b16").runs()}
    assert cfgs["CoOp_SHIP"] == "vit_b16_gzsl" and cfgs["ZeroshotCLIP"] == "vit_b16"


def test_a_sweep_refuses_an_unknown_field_with_the_files_name(tmp_path):
    path = tmp_path / "x.yaml"
    path.write_text("tasks: base2new")
    with pytest.raises(UserError, match=r"x\.yaml: a sweep has no field 'tasks'"):
        sweeps.load(str(path))


def test_a_file_that_is_no_text_is_refused_with_its_name(tmp_path):
    path = tmp_path / "x.yaml"
    path.write_bytes(b"task: \xe9")
    with pytest.raises(UserError, match=r"x\.yaml is not YAML: .*0xe9"):
        sweeps.load(str(path))
