"""SHIP as a plug-in: the paper's batches, KL_WEIGHT_RULE auto, reused generators, names, ways to resume."""

import pytest
import torch
from dassl.utils import UserError
from runs import argv, check_a_killed_run_ends_like_one_left_alone, log, results, same_state

import train
from trainers.core.checkpoints import read
from trainers.generative.training import ROLLING
from trainers.plugins.ship import SHIP

AUTO = ["TRAINER.SHIP.KL_WEIGHT_RULE", "auto"]


def test_the_papers_batch_is_drawn_as_it_was(tiny_bank, tmp_path, monkeypatch):
    """B real rows, then B synthetic ones of new classes by one call: the run is the same with that written out."""
    train.main(argv(tiny_bank, tmp_path / "ours", "CoOp_SHIP", "TRAINER.SHIP.ROWS", "1"))

    def papers(plugin, features, labels):
        synthesizer = plugin.synthesizer
        drawn = torch.randint(len(synthesizer.classes), labels.shape)
        synthetic = synthesizer.features(drawn)
        return torch.cat([features, synthetic]), torch.cat([labels, drawn + synthesizer.first_label])

    monkeypatch.setattr(SHIP, "batches", lambda plugin, loader: loader)
    monkeypatch.setattr(SHIP, "batch", papers)
    train.main(argv(tiny_bank, tmp_path / "papers", "CoOp_SHIP"))
    assert same_state(tmp_path / "ours", tmp_path / "papers")
    assert results(tmp_path / "ours")["metrics"] == results(tmp_path / "papers")["metrics"]


def test_auto_takes_the_rules_weight(tiny_bank, tmp_path):
    train.main(argv(tiny_bank, tmp_path / "paper", "CoOp_SHIP"))
    train.main(argv(tiny_bank, tmp_path / "auto", "CoOp_SHIP", *AUTO))
    paper, auto = (results(tmp_path / name)["extra"]["generator"] for name in ("paper", "auto"))
    assert "kl_weight" not in paper and 0 < auto["kl_weight"] < 1 and auto["kl"] > paper["kl"]
    assert "keeps 90%" in log(tmp_path / "auto")


def test_a_generator_is_reused_by_init_from(tiny_bank, tmp_path):
    train.main(argv(tiny_bank, tmp_path / "first", "CoOp_SHIP"))
    start = ["TRAINER.SHIP.INIT_FROM", str(tmp_path / "first")]
    train.main(argv(tiny_bank, tmp_path / "second", "CoOp_SHIP", *start))
    assert results(tmp_path / "first")["metrics"] == results(tmp_path / "second")["metrics"]
    with pytest.raises(UserError, match="TRAINER.SHIP.N_CTX 4"):
        train.main(argv(tiny_bank, tmp_path / "third", "CoOp_SHIP", *start, "TRAINER.SHIP.N_CTX", "2"))


def test_bad_new_class_names(tiny_bank, tmp_path):
    file = tmp_path / "names.txt"
    for names, problem in (
        ("dog\nzebra\n", "'dog' repeats the class 'dog'"),
        ("word " * 90 + "\n", "exceed 77 tokens"),
    ):
        file.write_text(names)
        words = argv(tiny_bank, tmp_path, "CoOp_SHIP", "TRAINER.SHIP.NEW_CLASSES", str(file), task="fewshot")
        with pytest.raises(UserError, match=problem):
            train.main(words)


@pytest.mark.parametrize(
    "options, message",
    [
        ("FRAMEWORK flow", "FRAMEWORK is flow; it must be one of vae, gan"),
        ("GENERATOR mlp SEQUENTIAL True", "SEQUENTIAL True has no effect with GENERATOR mlp"),
        ("FRAMEWORK gan KL_WEIGHT_RULE auto", "KL_WEIGHT_RULE auto has no effect with .* FRAMEWORK gan"),
    ],
)
def test_options_that_make_no_model(tiny_bank, tmp_path, options, message):
    words = options.split()
    words[::2] = [f"TRAINER.SHIP.{key}" for key in words[::2]]
    with pytest.raises(UserError, match=message):
        train.main(argv(tiny_bank, tmp_path, "CoOp_SHIP", *words))


RESUMED = [
    ("CoOp_SHIP", "generator", []),
    ("CoOp_SHIP", "finetune", AUTO),
    ("CoOp_SHIP", "generator", ["TRAINER.SHIP.FRAMEWORK", "gan"]),
    ("CoOp_SHIP_SAR", "finetune", ["TRAINER.SAR.SAMPLE", "9", "TRAINER.COOP.CTX_INIT", ""]),
    ("CoOp_VPT", "finetune", ["TRAINER.VPT.CONDITIONAL", "True"]),
    ("TF_VAEGAN", "generator", []),
]


@pytest.mark.parametrize("trainer, stage, options", RESUMED)
def test_a_killed_run_ends_like_one_left_alone(tiny_bank, tmp_path, monkeypatch, trainer, stage, options):
    """Every trainer is killed in the rehearsal; these are the options and stages that it leaves out."""
    check_a_killed_run_ends_like_one_left_alone(monkeypatch, tmp_path, tiny_bank, trainer, *options, stage=stage)
    if "generator" in results(tmp_path / "whole")["extra"]:
        files = [tmp_path / name / "generator/generator.pth.tar" for name in ("whole", "cut")]
        one, other = (read(str(file)) for file in files)
        assert same_state(one["state_dict"], other["state_dict"]) and one["history"] == other["history"]
        assert not files[1].with_name(ROLLING).exists()
