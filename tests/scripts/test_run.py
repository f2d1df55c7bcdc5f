"""Run (scripts/lib/run.py): its folders are those of the bash functions before it, its command is train.py's."""

import shlex
import subprocess

import pytest
from lib.run import ALL, Place, Run, UserError, read_results, summary

# what scripts/_common.sh had; folders of finished runs must be found again
BEFORE = r"""
OUTPUT=output
options_suffix() {
  local name=""
  while [ $# -gt 0 ]; do
    name="$name-$1=$2"
    shift 2
  done
  printf '%s' "${name//[^A-Za-z0-9._=-]/_}"
}
run_folder() { # TASK DATASET SEED TRAINER NAME-OF-CFG SHOTS; -1 shots are all images
  echo "$OUTPUT/$1/$2/shots_${6/#-1/all}/$4/$5/seed$3"
}
"""
OPTIONS = [
    (),
    (("OPTIM.LR", "0.002"),),
    (("TRAINER.COOP.CTX_INIT", "a photo of a"), ("OPTIM.MAX_EPOCH", "1")),
    (("INPUT.RRCROP_SCALE", "(0.5, 1.0)"), ("DATASET.TEMPLATE", "a {}, größer & *?/~ 'x'\"")),
    (("TRAINER.SHIP.NEW_CLASSES", "../names/new.txt"), ("TEST.SPLIT", "a-b_c=d")),
]


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("shots", [16, 1, ALL])
@pytest.mark.parametrize("origin", ["", "imagenet"])
def test_folders_are_those_of_the_shell_functions(options, shots, origin):
    words = " ".join(shlex.quote(word) for option in options for word in option)
    name = f"vit_b16-from_{origin}" if origin else "vit_b16"
    script = f'{BEFORE} run_folder base2new dtd 3 CoOp {name}"$(options_suffix {words})" {shots}'
    before = subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, check=True, env={"LC_ALL": "C.UTF-8"}
    ).stdout.strip()
    source = Run("fewshot", origin, "CoOp", "vit_b16", 3) if origin else None
    run = Run("base2new", "dtd", "CoOp", "vit_b16", 3, shots, options, source)
    assert run.folder(Place()) == before
    assert before.split("/")[5] == run.config


def test_a_source_names_the_folder_and_starts_the_run():
    source = Run("fewshot", "imagenet", "CoOp_SHIP", "vit_b16_ep50_ctxv1", 2, options=(("OPTIM.LR", "0.1"),))
    start = ("MODEL.INIT_WEIGHTS", "TRAINER.SHIP.INIT_FROM")
    run = Run("cross_dataset", "dtd", "CoOp_SHIP", "vit_b16", 2, 16, source.options, source, start)
    origin = "/out/fewshot/imagenet/shots_16/CoOp_SHIP/vit_b16_ep50_ctxv1-OPTIM.LR=0.1/seed2"
    assert run.config == "vit_b16-from_imagenet-OPTIM.LR=0.1"
    command = run.command(Place("/out", "/data", "/banks/one.safetensors"))
    assert command[:3] == ["train.py", "--root", "/data"] and "configs/trainers/CoOp_SHIP/vit_b16.yaml" in command
    assert command[command.index("TASK") :] == [
        *("TASK", "cross_dataset", "DATASET.NUM_SHOTS", "16", "DATASET.SUBSAMPLE_CLASSES", "all"),
        *("FEATURES.BANK", "/banks/one.safetensors", "OPTIM.LR", "0.1"),
        *("MODEL.INIT_WEIGHTS", origin, "TRAINER.SHIP.INIT_FROM", origin),
    ]


def test_the_command_says_who_the_run_is():
    command = Run("base2new", "dtd", "CoOp", "miniclip", 1, options=(("OPTIM.LR", "0.1"),)).command(Place())
    given = dict(zip(command[1::2], command[2::2], strict=True))
    assert given["RUN.DATASET"] == "dtd" and given["RUN.CONFIG"] == "miniclip-OPTIM.LR=0.1"
    assert given["DATASET.SUBSAMPLE_CLASSES"] == "base"


def test_the_environment_says_where(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for name in ("DATA", "BANK", "OUTPUT", "SHIP_CALLED_FROM"):
        monkeypatch.delenv(name, raising=False)
    assert Place.from_environment() == Place("output", "", "")
    monkeypatch.setenv("DATA", "images")
    monkeypatch.setenv("OUTPUT", "")
    assert Place.from_environment() == Place("output", str(tmp_path / "images"), "")


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"metrics": 3}'])
def test_damaged_results_say_what_to_do(tmp_path, text):
    path = tmp_path / "results.json"
    path.write_text(text)
    with pytest.raises(UserError, match="damaged.*delete it"):
        read_results(path)


def test_a_summary_leaves_out_what_has_no_value(tmp_path):
    path = tmp_path / "results.json"
    path.write_text('{"metrics": {"base": 80.04, "new": null}}')
    assert summary(path) == "base 80.0"
