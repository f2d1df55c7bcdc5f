"""What shares a row in scripts/report.py: runs that differ in the seed alone. Copies and edited files do not count."""

import hashlib
import json
import shutil

import pytest
from lib.run import UserError

OPTIONS = {"OPTIM.MAX_EPOCH": 50, "OPTIM.LR": 0.002, "DATASET.TEMPLATE": "a photo of a {}.", "version": "0.2.0"}
OPTIONS |= {"images": "a" * 64, "weights": "b" * 64, "classnames": "c" * 64, "split": "d" * 64}
BANK = {"bank": {"path": "bank.safetensors", "sha256": "a" * 64}}


def digest(record):
    rest = {key: value for key, value in record.items() if key != "digest"}
    text = json.dumps(rest, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


@pytest.fixture
def new_run(write_run):
    """Writes a results.json as this version does: with identity and digest. base is 80 + the seed, new 50."""

    def write(seed, identity=(), trainer="CoOp", dataset="caltech101", **more):
        facts = {**OPTIONS, "SEED": seed, **dict(identity)}
        metrics = {"base": 80.0 + seed, "new": 50.0, "all": 60.0}
        path = write_run(metrics, trainer, seed, dataset=dataset, identity=facts, commit="1" * 40, **{**BANK, **more})
        record = json.loads(path.read_text())
        path.write_text(json.dumps({**record, "digest": digest(record)}, indent=1))
        return path

    return write


def rows(text, start="caltech101"):
    """(configuration, number of seeds, base) of each row."""
    found = [line.split("|") for line in text.splitlines() if line.startswith(f"| {start} ")]
    return [(row[4].strip(), row[5].strip(), row[6].strip()) for row in found]


def markdown(report, *arguments):
    return report("--format", "markdown", *arguments).out


def test_runs_that_differ_in_their_seed_alone_share_a_row(new_run, report):
    for seed in (1, 2, 3):
        new_run(seed)
    result = report("--format", "markdown")
    assert rows(result.out) == [("miniclip", "3", "82.00 ± 0.82")] and "[1]" not in result.out and not result.err


@pytest.mark.parametrize(
    "key, value, said",
    [
        ("OPTIM.MAX_EPOCH", 20, "OPTIM.MAX_EPOCH (50: miniclip; 20: miniclip #2)"),
        ("OPTIM.LR", 0.1, "OPTIM.LR (0.002: miniclip; 0.1: miniclip #2)"),
        ("DATASET.TEMPLATE", "a {}.", "DATASET.TEMPLATE (a photo of a {}.: miniclip; a {}.: miniclip #2)"),
        ("images", "e" * 64, "images (aaaaaaaa: miniclip; eeeeeeee: miniclip #2)"),
        ("weights", "e" * 64, "weights (bbbbbbbb: miniclip; eeeeeeee: miniclip #2)"),
        ("version", "0.3.0", "version (0.2.0: miniclip; 0.3.0: miniclip #2)"),
        ("TRAINER.COOP.NEW", True, "TRAINER.COOP.NEW (-: miniclip; true: miniclip #2)"),
    ],
)
def test_what_differs_stands_in_a_row_of_its_own(new_run, report, key, value, said):
    new_run(1), new_run(2), new_run(3, {key: value})
    out = markdown(report)
    assert rows(out) == [("miniclip", "2", "81.50 ± 0.50"), ("miniclip #2", "1", "83.00")]
    assert f"[1] miniclip #2 differs in {said}" in out
    assert "CoOp (miniclip #2) [1]" in markdown(report, "--layout", "paper")


@pytest.mark.parametrize(
    "key, one, other",
    [
        ("selection", "last epoch", "best epoch on few-shot validation of the trained classes"),
        ("fewshot", "Caltech101-cb0e-seed1.txt", "sampled"),
        ("unseeded", False, True),
    ],
)
@pytest.mark.parametrize("old", [False, True])
def test_selection_images_and_drawn_seeds_tell_runs_apart_in_old_files_too(
    new_run, write_run, report, key, one, other, old
):
    def write(seed, value):
        if old:
            write_run({"base": 80.0 + seed}, seed=seed, **{key: value})
        else:
            new_run(seed, **{key: value})

    write(1, one), write(2, str(one).replace("seed1", "seed2") if one else one), write(3, other)
    assert rows(markdown(report)) == [("miniclip", "2", "81.50 ± 0.50"), ("miniclip #2", "1", "83.00")]


def test_files_of_older_versions_stand_apart_from_new_ones(new_run, write_run, report):
    new_run(1), write_run({"base": 82.0, "new": 50.0, "all": 60.0}, seed=2)
    out = markdown(report)
    assert rows(out) == [("miniclip", "1", "81.00"), ("miniclip #2", "1", "82.00")]
    assert "options (recorded: miniclip; not recorded (an older version): miniclip #2)" in out


def test_mix_averages_all_the_same_and_says_what(new_run, write_run, report):
    new_run(1), new_run(2, {"OPTIM.MAX_EPOCH": 20}), write_run({"base": 83.0, "new": 50.0}, seed=3)
    out = markdown(report, "--mix")
    assert rows(out) == [("miniclip", "3", "82.00 ± 0.82")]
    assert "mixed: OPTIM.MAX_EPOCH (50: seed 1; 20: seed 2; -: seed 3); options (recorded: seed 1, seed 2;" in out


@pytest.mark.parametrize("arguments", [(), ("--mix",)])
def test_unseeded_runs_are_never_averaged_with_seeded_ones(new_run, report, arguments):
    new_run(1), new_run(2), new_run(7, unseeded=True), new_run(9, unseeded=True)
    out = markdown(report, *arguments)
    assert rows(out) == [("miniclip", "2", "81.50 ± 0.50"), ("miniclip #2", "2", "88.00 ± 1.00")]
    assert "[1] unseeded: the seed was drawn" in out and "mixed" not in out


def test_an_unseeded_run_of_an_older_version_is_marked(write_run, report):
    write_run({"base": 80.0}, seed=-1)
    assert "[1] unseeded" in report().out


def test_a_kind_is_the_same_on_all_data_sets(new_run, report):
    """On one data set two seeds of three have 20 epochs, on another there is nothing else."""
    short = {"OPTIM.MAX_EPOCH": 20}
    new_run(1), new_run(2), new_run(3), new_run(4, short)
    new_run(1, {**short, "images": "9" * 64}, dataset="eurosat")
    out = markdown(report)
    assert [label for label, *_ in rows(out, "eurosat")] == ["miniclip #2"]
    assert rows(out, "average") == [("miniclip", "3", "- [2]"), ("miniclip #2", "1", "82.50")]


def test_an_average_over_data_sets_that_differ_in_more_says_so(new_run, report):
    new_run(1), new_run(1, {"OPTIM.MAX_EPOCH": 20, "images": "9" * 64}, dataset="eurosat")
    out = markdown(report)
    assert rows(out, "average") == [("miniclip", "1", "81.00 [1]")]
    assert "[1] datasets differ in OPTIM.MAX_EPOCH (50: caltech101; 20: eurosat)" in out


def test_pairs_that_differ_in_more_than_the_plug_in_say_so(new_run, report):
    more = {"TRAINER.SHIP.N_CTX": 4, "TRAINER.NAME": "CoOp_SHIP", "classnames": "e" * 64}
    new_run(1), new_run(1, {"OPTIM.MAX_EPOCH": 20, **more}, trainer="CoOp_SHIP")
    out = report("--paired").out.split("paired differences")[1]
    assert (
        "they differ too in OPTIM.MAX_EPOCH (50: CoOp; 20: CoOp_SHIP)" in out
        and "N_CTX" not in out
        and "classnames" not in out
    )


def test_ablations_keep_kinds_apart(new_run, report):
    for config in ("miniclip", "miniclip-TRAINER.SHIP.N_CTX=2"):
        new_run(1, trainer="CoOp_SHIP", config=config)
    new_run(2, {"OPTIM.MAX_EPOCH": 20}, trainer="CoOp_SHIP", config="miniclip-TRAINER.SHIP.N_CTX=2")
    out = report("--table", "6").out
    assert "CoOp + SHIP (L=2)     " in out and "CoOp + SHIP (L=2) #2 [" in out


def test_what_the_seed_decides_tells_nothing_apart(new_run, report):
    """The images drawn, the run that it starts from; and of image files, which have no bank, a hash of those drawn."""
    for seed in (1, 2):
        names = ("fewshot", "MODEL.INIT_WEIGHTS", "TRAINER.SHIP.INIT_FROM", "images")
        new_run(seed, dict.fromkeys(names, f"{seed}" * 16), bank=None)
    assert rows(markdown(report)) == [("miniclip", "2", "81.50 ± 0.50")]


def test_commits_of_one_version_are_said(new_run, report):
    new_run(1), new_run(2)
    path = new_run(3)
    record = json.loads(path.read_text()) | {"commit": "2" * 40, "clean_tree": False}
    path.write_text(json.dumps({**record, "digest": digest(record)}))
    result = report("--format", "markdown")
    assert rows(result.out) == [("miniclip", "3", "82.00 ± 0.82")]
    assert (
        "different commits of the code (111111111111: seed 1, seed 2; 222222222222 with changes: seed 3)" in result.err
    )


def test_a_run_given_twice_counts_once(new_run, report, tmp_path):
    new_run(1), new_run(2)
    output = tmp_path / "output"
    shutil.copytree(output, tmp_path / "copy"), (tmp_path / "link").symlink_to(output)
    result = report("--format", "markdown", folders=[output, output, tmp_path / "link", tmp_path / "copy"])
    assert rows(result.out) == [("miniclip", "2", "81.50 ± 0.50")]
    assert result.err.count("two results of the same run") == 2


@pytest.mark.parametrize("old", [False, True])
def test_a_copy_in_the_folder_of_another_seed_does_not_count(new_run, write_run, report, old):
    path = write_run({"base": 81.0}, seed=1) if old else new_run(1)
    copy = path.parents[1] / "seed2" / path.name
    copy.parent.mkdir(), shutil.copy(path, copy)
    result = report("--format", "markdown")
    assert rows(result.out) == [("miniclip", "1", "81.00")]
    assert f"{copy} is of seed 1 by what it holds: not counted; it is a copy of {path}" in result.err


@pytest.mark.parametrize("old", [False, True])
def test_a_copy_that_was_given_another_seed_does_not_count(new_run, write_run, report, old):
    path = write_run({"base": 81.0}, seed=1) if old else new_run(1)
    record = json.loads(path.read_text()) | {"seed": 2}
    copy = path.parents[1] / "seed2" / path.name
    copy.parent.mkdir()
    copy.write_text(json.dumps(record if old else {**record, "digest": digest(record)}))
    result = report("--format", "markdown")
    assert rows(result.out) == [("miniclip", "1", "81.00")]
    assert f"{copy} is a copy of {path} with another seed: not counted" in result.err


def test_where_only_copies_are_left_it_says_so(write_run, report, tmp_path):
    path = write_run({"base": 81.0}, seed=1)
    path.parent.rename(path.parents[1] / "seed2")
    with pytest.raises(UserError, match="seed 1 by what it holds"):
        report()


@pytest.mark.parametrize("h, kept", [(61.54, True), (61.545, True), (61.4, False), (0.0, False)])
@pytest.mark.parametrize(
    "task, names",
    [
        ("base2new", ("base", "new", "H")),
        ("gzsl", ("seen", "unseen", "H")),
        ("base2new", ("all_base", "all_new", "all_H")),
    ],
)
def test_an_h_that_does_not_follow_is_refused(write_run, report, h, kept, task, names):
    write_run({"base": 1.0, "accuracy": 1.0}, "KgCoOp", task=task)
    path = write_run(dict(zip(names, (80.0, 50.0, h))), task=task)
    err = report().err
    assert (f"skipped {path}: {names[2]} is {h:.2f}, but" in err) != kept
    assert kept or f"{names[0] if task != 'gzsl' else 'unseen'} " in err and "give 61.54" in err


@pytest.mark.parametrize("key, value", [("seed", 2), ("metrics", {"base": 99.0}), ("digest", 5), ("more", [])])
def test_an_edited_file_is_refused_and_says_what_to_do(new_run, report, key, value):
    new_run(3)
    path = new_run(1)
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))
    result = report("--format", "markdown")
    assert rows(result.out) == [("miniclip", "1", "83.00")]
    assert (
        f"skipped {path}: edited or damaged, for its digest does not match; delete it and start the run" in result.err
    )


def test_a_digest_of_words_in_any_alphabet(new_run, report):
    new_run(1, {"DATASET.TEMPLATE": "ein Foto: {} — 写真"})
    assert "83" not in report().err
