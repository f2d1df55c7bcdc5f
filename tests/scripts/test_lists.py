"""Lists of runs: what the bash scripts' words and the environment make of configs/sweeps/."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from lib import lists
from lib.lists import read_list, runs_of
from lib.runs import Run, config_files, shortened

import train

ROOT = Path(__file__).resolve().parents[2]
SHIP_SOURCE = "output/fewshot/caltech101/shots_16/CoOp_SHIP/miniclip/seed2"
MINE = """
task: base2new
datasets: [eurosat]
seeds: [1, 2]
variants:
- {trainer: CoOp, options: {OPTIM.LR: 0.10}}
- CoOp_SHIP
"""


@pytest.fixture
def dry():
    """dry(script, *words, **environment) -> the command lines that a bash script would run in this repository."""

    def run(script, *words, **env):
        where = {"PATH": "/usr/bin:/bin", "PYTHON": sys.executable, "OUTPUT": "/nowhere", **env}
        cut = words.index("--") if "--" in words else len(words)
        line = ["bash", str(ROOT / "scripts" / script), *words[:cut], "--dry-run", *words[cut:]]
        result = subprocess.run(line, env=where, capture_output=True, text=True, cwd=ROOT)
        assert result.returncode == 0, result.stderr
        lines = result.stdout.replace("/nowhere/", "output/").splitlines()
        return [line for line in lines if line.startswith("python train.py ")]

    return run


def folder(call):
    return re.search(r"--output-dir (\S+)", call).group(1).removeprefix("output/")


def folders(calls):
    return [folder(call) for call in calls]


# ---- the bash scripts


def test_base2new(dry):
    (call,) = dry("base2new.sh", "caltech101", "1")
    assert call == (
        "python train.py --seed 1 --trainer CoOp_SHIP --dataset-config-file configs/datasets/caltech101.yaml "
        "--config-file configs/trainers/CoOp_SHIP/miniclip.yaml "
        "--output-dir output/base2new/caltech101/shots_16/CoOp_SHIP/miniclip/seed1 "
        "RUN.DATASET caltech101 RUN.CONFIG miniclip "
        "TASK base2new DATASET.NUM_SHOTS 16 DATASET.SUBSAMPLE_CLASSES base"
    )
    words = ("base2new.sh", "dtd", "3", "CoOp", "vit_b16", "--", "TRAINER.COOP.CTX_INIT", "a photo")
    (call,) = dry(*words, DATA="images", BANK="/b.safetensors", SHOTS="4")
    assert f" --root {ROOT}/images " in call
    assert folder(call) == "base2new/dtd/shots_4/CoOp/vit_b16-TRAINER.COOP.CTX_INIT=a_photo/seed3"
    assert call.endswith("base FEATURES.BANK /b.safetensors TRAINER.COOP.CTX_INIT 'a photo'")


def test_protocols_on_one_data_set(dry):
    made = [f"fewshot/eurosat/shots_{shots}/CoOp/miniclip/seed1" for shots in (1, 2, 4, 8, 16)]
    assert folders(dry("fewshot.sh", "eurosat", "1", "CoOp")) == made
    (call,) = dry("gzsl.sh", "flo", "1")
    assert folder(call) == "gzsl/flo/shots_all/CoOp_SHIP/miniclip_gzsl/seed1"
    assert "DATASET.NUM_SHOTS -1 DATASET.SUBSAMPLE_CLASSES all" in call
    assert folders(dry("gzsl.sh", "flo", "1", "ZeroshotCLIP")) == ["gzsl/flo/shots_all/ZeroshotCLIP/miniclip/seed1"]


def test_cross_dataset(dry):
    source, zero_shot, coop, ship = dry("cross_dataset.sh", "caltech101", "2", "eurosat")
    assert "output/" + folder(source) == SHIP_SOURCE and " TASK fewshot DATASET.NUM_SHOTS 16 " in source
    where = "cross_dataset/eurosat/shots_16"
    assert folder(zero_shot) == f"{where}/ZeroshotCLIP/miniclip/seed2" and "INIT" not in zero_shot
    assert folder(coop) == f"{where}/CoOp/miniclip-from_caltech101/seed2"
    assert coop.endswith(f"SUBSAMPLE_CLASSES all MODEL.INIT_WEIGHTS {SHIP_SOURCE}")
    assert folder(ship) == f"{where}/CoOp_SHIP/miniclip-from_caltech101/seed2"
    assert ship.endswith(f"MODEL.INIT_WEIGHTS {SHIP_SOURCE} TRAINER.SHIP.INIT_FROM {SHIP_SOURCE}")
    words = ("cross_dataset.sh", "imagenet", "1", "eurosat", "caltech101", "--", "OPTIM.LR", "0.1")
    calls = dry(*words, CFG="vit_b16_ctxv1", SOURCE_CFG="vit_b16")
    assert len(calls) == 1 + 2 * 3 and "CoOp_SHIP/vit_b16-OPTIM.LR=0.1/seed1" in folder(calls[0])
    assert folder(calls[1]).endswith("eurosat/shots_16/ZeroshotCLIP/vit_b16-OPTIM.LR=0.1/seed1")
    assert folder(calls[6]).endswith("caltech101/shots_16/CoOp_SHIP/vit_b16_ctxv1-from_imagenet-OPTIM.LR=0.1/seed1")


def test_domain_generalization(dry):
    source, target = dry("domain_generalization.sh", "1", "CoOp", "miniclip", TARGETS="imagenet_a")
    assert folder(target) == "domain_generalization/imagenet_a/shots_16/CoOp/miniclip-from_imagenet/seed1"
    assert target.endswith("MODEL.INIT_WEIGHTS output/fewshot/imagenet/shots_16/CoOp/miniclip/seed1")
    calls = dry("domain_generalization.sh", "1", "ZeroshotCLIP")
    assert len(calls) == 4 and not any("INIT" in call or "/fewshot/" in call for call in calls)
    assert "/ZeroshotCLIP/vit_b16/" in folder(calls[0])


@pytest.mark.parametrize("table", [4, 5, 6])
def test_ablations_are_the_rows_of_the_papers_table(dry, table):
    paper = yaml.safe_load((ROOT / f"configs/papers/ship/table{table}.yaml").read_text())
    rows = [row.get("options", {}) for row in paper["rows"] if row.get("trainer") == "CoOp_SHIP"]
    suffixes = ["".join(f"-{paper['section']}.{key}={value}" for key, value in row.items()) for row in rows]
    calls = dry("ablation.sh", str(table), "eurosat", "1")
    assert folders(calls) == [f"base2new/eurosat/shots_16/CoOp_SHIP/miniclip{suffix}/seed1" for suffix in suffixes]


def test_table1(dry):
    assert len(dry("table1.sh", "eurosat", SEEDS="1 2")) == 22
    calls = dry("table1.sh", "dtd", METHODS="CoOp CoOp_SHIP/vit_b16_ship_released", SEEDS="3", CFG="vit_b16_ctxv1")
    where = "base2new/dtd/shots_16"
    assert folders(calls) == [f"{where}/CoOp/vit_b16_ctxv1/seed3", f"{where}/CoOp_SHIP/vit_b16_ship_released/seed3"]


def test_reproduce_shows_its_checks_and_every_table(tmp_path):
    where = {"PATH": "/usr/bin:/bin", "PYTHON": sys.executable, "OUTPUT": str(tmp_path / "out")}
    command = ["bash", str(ROOT / "scripts/reproduce.sh"), str(tmp_path), "1", "--dry-run"]
    result = subprocess.run(command, env=where, capture_output=True, text=True, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "scripts/data.py check imagenet" in result.stdout and f"scripts/verify.py --root {tmp_path}" in result.stdout
    calls = [line for line in result.stdout.splitlines() if line.startswith("python train.py")]
    assert len(calls) == 121 + 31 + 18 + 3 * 44 and all(f"--root {tmp_path} " in call for call in calls)
    assert not (tmp_path / "out").exists()
    command[2] = str(tmp_path / "nowhere")
    assert "is no folder" in subprocess.run(command, env=where, capture_output=True, text=True).stderr


def test_quickstart_shows_the_point_in_few_lines(ready):
    names = ["CoOp/miniclip_ep20", "CoOp_SHIP/miniclip_ep20", "GaussianLDA/miniclip", "Ensemble_GATE/miniclip"]
    ready.add_configs(*(f"trainers/{name}" for name in names))
    result = ready.run("launch.py", "quickstart", "--datasets", "eurosat", "--output", "out")
    assert result.returncode == 0, result.stderr
    *calls, report = [call.replace(f"{ready.root}/", "") for call in ready.calls("")]
    names = {*names, "ZeroshotCLIP/miniclip"}
    assert {*folders(calls)} == {f"out/base2new/eurosat/shots_16/{name}/seed1" for name in names}
    assert report.endswith("--metrics base new H all all_H --plot out/base2new.png")
    lines = result.stdout.splitlines()
    assert len(lines) < 30 and lines[-1].strip() == "bash scripts/base2new.sh eurosat 1 KgCoOp"  # what to try next


def test_one_run_ends_with_the_table_of_its_data_set_and_a_papers_table_is_of_all_that_there_is(ready):
    result = ready.run("base2new.sh", "eurosat", "1", "CoOp")
    words = "output/base2new/eurosat --metrics base new H all all_H"
    assert ready.calls("scripts/report.py") == [f"scripts/report.py {words}"]
    assert result.stdout.splitlines()[-1].strip() == "bash scripts/base2new.sh eurosat 1 Ensemble_GATE"
    ready.run("ablation.sh", "6", "eurosat", "1")
    assert ready.calls("scripts/report.py") == ["scripts/report.py output/base2new --table 6"]


# ---- lists of one's own


def test_flags_change_a_list_and_options_are_of_all_runs(ready):
    (ready.root / "mine.yaml").write_text(MINE)
    flags = "--dry-run --seeds 3 --datasets caltech101 eurosat -- OPTIM.MAX_EPOCH 1 USE_CUDA False"
    *calls, _ = ready.run("launch.py", "mine.yaml", *flags.split()).stdout.splitlines()
    assert len(calls) == 4 and all("OPTIM.MAX_EPOCH 1 USE_CUDA False" in call for call in calls)
    options = "OPTIM.MAX_EPOCH=1-USE_CUDA=False-OPTIM.LR=0.10"
    assert folder(calls[0]) == f"base2new/caltech101/shots_16/CoOp/miniclip-{options}/seed3"


def test_wrong_words_and_wrong_files_are_sentences(ready):
    (ready.root / "field.yaml").write_text(MINE + "job: 2")
    (ready.root / "variant.yaml").write_text(MINE.replace("trainer", "method"))
    for words, message in {
        "base2new.sh caltech 1": "no data set 'caltech'; nearest: caltech101",
        "base2new.sh caltech101 1 CoOp miniclp": "no configuration of CoOp, 'miniclp'; nearest: miniclip",
        "base2new.sh caltech101 one": "seeds and shots should be whole numbers: ",
        "base2new.sh caltech101": "takes the arguments DATASET SEED [TRAINER [CFG]], found caltech101",
        "base2new.sh caltech101 1 -- OPTIM.LR": "pairs KEY VALUE",
        "ablation.sh 7 eurosat 1": "'ablation_7' is neither a file nor one of configs/sweeps/",
        "launch.py tabel1": "nearest: ['table1'",
        "launch.py field.yaml": "expected a table with the fields ",
        "launch.py variant.yaml": "a variant has the field trainer",
    }.items():
        result = ready.run(*words.split())
        assert result.returncode == 2 and message in result.stderr and "Traceback" not in result.stderr
    assert ready.calls("train.py") == []


# ---- the files of this repository


@pytest.mark.parametrize("family", ["miniclip", "vit_b16"])
@pytest.mark.parametrize("name", lists.names())
def test_every_list_resolves_with_both_backbones(name, family):
    given = {"TABLE": "4", "DATASET": "dtd", "SOURCE": "caltech101", "SEED": "1", "TRAINER": "CoOp"}
    given["TARGETS"] = "eurosat"
    takes = yaml.safe_load((ROOT / f"configs/sweeps/{name}.yaml").read_text()).get("arguments", "").partition("[")[0]
    fields = read_list(name, [given[word.strip(".")] for word in takes.split()])
    found = runs_of({**fields, "cfg": family}, data="data")
    assert len({run.folder for run in found}) == len(found)
    for run in {(run.trainer, run.cfg, run.options): run for run in found}.values():
        train.setup_cfg(train.parse_args(run.command()[1:]))  # its options are known, of the right type


@pytest.mark.parametrize(
    "trainer, cfg, expected",
    [
        ("CoOp_SHIP", "miniclip_ship_released", "trainers/CoOp/miniclip_ship_released plugins/SHIP/miniclip"),
        ("KgCoOp_GATE", "vit_b16_ep100_ctxv1", "trainers/KgCoOp/vit_b16_ep100_ctxv1 plugins/GATE/vit_b16"),
        ("CoOp_SHIP_SMOOTH", "miniclip", "trainers/CoOp_SHIP/miniclip"),
        ("LinearProbe_SHIP", "vit_b16", "base/vit_b16 plugins/SHIP/vit_b16"),
        ("CoOp_VPT", "vit_b16_ctxv1", ""),  # not CoOp's file: a method of its own
    ],
)
def test_files_of_the_longest_beginning_of_the_name_then_of_the_other_plugins(trainer, cfg, expected):
    assert config_files(trainer, cfg) == [f"configs/{name}.yaml" for name in expected.split()]


def test_a_shorter_name_stands_in_for_one_that_another_trainer_has():
    assert shortened("ZeroshotCLIP", "vit_b16_ep50_ctxv1") == "vit_b16"
    assert shortened("ZeroshotCLIP", "vit_b16_ctxv9") == "vit_b16_ctxv9"  # a typing error


def test_folders_are_those_of_earlier_versions():
    options = (("DATASET.TEMPLATE", "a {}, größer & *?/~ 'x'\""), ("TEST.SPLIT", "a-b_c=d"))
    source = Run("fewshot", "imagenet", "CoOp", "vit_b16", 3)
    run = Run("cross_dataset", "dtd", "CoOp", "vit_b16", 3, -1, options, source, output="/out")
    name = "vit_b16-from_imagenet-DATASET.TEMPLATE=a_____gr__er_________x__-TEST.SPLIT=a-b_c=d"
    assert run.folder == f"/out/cross_dataset/dtd/shots_all/CoOp/{name}/seed3"
