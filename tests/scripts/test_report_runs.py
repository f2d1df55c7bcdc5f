"""Which runs share a row: those that differ in their seed alone. Copies, edited and damaged files are left out."""

import json
import os
import shutil

import pytest

from trainers.core.files import UserError, digest_of

OPTIONS = {"OPTIM.MAX_EPOCH": 50, "OPTIM.LR": 0.002, "DATASET.TEMPLATE": None, "TRAINER.COOP.N_CTX": 16}
OPTIONS |= {"images": "a" * 64, "weights": "b" * 64, "classnames": "c" * 12, "split": "d" * 12}
BANK = {"bank": {"path": "bank.safetensors", "sha256": "a" * 64}}


@pytest.fixture
def new_run(write_run):
    """Writes a results.json with identity and digest: base is 80 + the seed, new 50."""

    def write(seed, identity=(), trainer="CoOp", dataset="caltech101", **more):
        facts = {**OPTIONS, "SEED": seed, "template": "a {}.", **dict(identity)}
        metrics = {"base": 80.0 + seed, "new": 50.0, "all": 60.0}
        path = write_run(metrics, trainer, seed, dataset=dataset, identity=facts, **{**BANK, **more})
        record = json.loads(path.read_text())
        path.write_text(json.dumps({**record, "digest": digest_of(record)}, indent=1))
        return path

    return write


@pytest.fixture
def rows(report):
    """rows(*arguments) -> ([(configuration, seeds, base)] of a data set or the average, the whole text)."""

    def read(*arguments, start="caltech101"):
        result = report("--format", "markdown", *arguments)
        lines = [line.split("|") for line in result.out.splitlines() if line.startswith(f"| {start} ")]
        text = (result.out + result.err).replace("  \n", "\n")
        return [(line[4].strip(), line[5].strip(), line[6].strip()) for line in lines], text

    return read


def test_runs_that_differ_in_their_seed_alone_share_a_row(new_run, rows):
    """The seed decides which images are drawn, the run that it starts from, of image files the hash of those drawn, and
    a random half. The version of the code does not count."""
    for seed in (1, 2, 3):
        own = dict.fromkeys(("fewshot", "MODEL.INIT_WEIGHTS", "TRAINER.SHIP.INIT_FROM", "images"), f"{seed}" * 16)
        own |= {"DATASET.HALVES_SEED": seed, "classnames": f"{seed}" * 12}
        new_run(seed, own, bank=None, versions={"commit": f"{seed}" * 40}, fewshot=f"cb0e-seed{seed}.txt")
    found, text = rows()
    assert found == [("miniclip", "3", "82.00 ± 0.82")] and " has " not in text and "warning" not in text


@pytest.mark.parametrize(
    "facts, more, said",
    [
        ({"OPTIM.MAX_EPOCH": 20}, {}, "OPTIM.MAX_EPOCH 20 instead of 50"),
        ({"images": "e" * 64}, {}, "images eeeeeeee instead of aaaaaaaa"),
        ({"TRAINER.COOP.NEW": True}, {}, "TRAINER.COOP.NEW True instead of -"),
        ({"REVISION.CoOp": 2}, {}, "REVISION.CoOp 2 instead of -"),
        ({}, {"fewshot": "drawn.pkl"}, "few-shot images sampled instead of"),
        ({}, {"unseeded": True}, "seed drawn instead of given"),
    ],
)
def test_what_differs_stands_in_a_row_of_its_own(new_run, rows, report, facts, more, said):
    new_run(1), new_run(2), new_run(3, facts, **more)
    found, text = rows()
    assert found == [("miniclip", "2", "81.50 ± 0.50"), ("miniclip #2", "1", "83.00")]
    assert f"CoOp (miniclip #2): miniclip #2 has {said}" in text
    assert ("unseeded: the seed was drawn" in text) == ("unseeded" in more)
    assert "CoOp (miniclip #2) " in report("--table", "1").out


def test_a_variant_is_the_same_on_all_data_sets(new_run, rows):
    short = {"OPTIM.MAX_EPOCH": 20}
    new_run(1), new_run(2), new_run(3), new_run(4, short)
    new_run(1, {**short, "images": "9" * 64}, dataset="eurosat")
    assert [config for config, *_ in rows(start="eurosat")[0]] == ["miniclip #2"]
    found, text = rows(start="average")
    assert [base for *_, base in found] == ["-", "-"] and text.count("no average: ") == 2


def test_averages_and_pairs_that_differ_in_more_say_so(new_run, rows):
    new_run(1), new_run(1, {"OPTIM.MAX_EPOCH": 20, "images": "9" * 64}, dataset="eurosat")
    found, text = rows(start="average")
    assert found == [("miniclip", "1", "81.00")]
    assert "CoOp: on eurosat, unlike caltech101, OPTIM.MAX_EPOCH 20 instead of 50\n" in text
    new_run(1, {"OPTIM.LR": 0.1, "TRAINER.SHIP.N_CTX": 4, "classnames": "e" * 12}, "CoOp_SHIP")
    assert "CoOp_SHIP - CoOp: the first has OPTIM.LR 0.1 instead of 0.002\n" in rows("--paired")[1]


def test_configurations_of_one_data_set_have_rows_and_of_several_are_averaged(write_run, rows):
    """CoOp trains ImageNet with a configuration of its own."""
    write_run({"base": 70.0}, dataset="imagenet", config="vit_b16_ep50_ctxv1")
    write_run({"base": 80.0}, config="vit_b16_ctxv1")
    assert rows(start="average")[0] == [("(several)", "1", "75.00")]
    write_run({"base": 80.0}, config="another")
    assert len(rows(start="average")[0]) == 3


# ---- what is left out


def test_copies_do_not_count(new_run, report, tmp_path):
    path, output = new_run(1), tmp_path / "output"
    shutil.copytree(output, tmp_path / "copy")
    copy = tmp_path / "copy" / path.relative_to(output)
    os.utime(copy, (1, 1))
    result = report("--format", "csv", folders=[output, output, tmp_path / "copy"])
    assert result.out.count("caltech101") == 1
    assert result.err.count(f"two results of the same run: left out the older, {copy}") == 1


@pytest.mark.parametrize("change", [{"seed": 2}, {"metrics": {"base": 99.0}}, {"digest": 5}, {"more": []}, b"{", b"[]"])
def test_a_damaged_or_edited_file_is_left_out_and_named(new_run, report, rows, change):
    path = new_run(1)
    text = change if isinstance(change, bytes) else json.dumps(json.loads(path.read_text()) | change).encode()
    path.write_bytes(text)
    with pytest.raises(UserError, match="no run is left"):
        report()
    new_run(3)
    found, text = rows()
    assert found == [("miniclip", "1", "83.00")] and f"left out: {path} is damaged" in text


def test_data_that_differ_are_said(write_run, report):
    write_run({"base": 80.0}), write_run({"base": 80.0}, "KgCoOp")
    assert "warning" not in report().err
    write_run({"base": 80.0}, "KgCoOp", seed=3, split_hash="another")
    assert "base2new caltech101: results of different split_hash should not be compared" in report().err
