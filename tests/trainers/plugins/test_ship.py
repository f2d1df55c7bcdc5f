"""SHIP as a plug-in: the paper's batches, its share, KL_WEIGHT_RULE auto, reused generators, names, ways to resume, and
class means in methods of closed form."""

import pytest
import torch
import torch.nn.functional as F
from dassl.utils import UserError
from runs import Recorded, argv, check_a_killed_run_ends_like_one_left_alone, log, results, same_state
from tiny_data import NAMES, poison

import train
from trainers import open_run
from trainers.core.checkpoints import read
from trainers.generative.training import ROLLING
from trainers.plugins.ship import SHIP

AUTO = ["TRAINER.SHIP.KL_WEIGHT_RULE", "auto"]


def test_the_papers_batch_is_drawn_as_it_was(tiny_bank, tmp_path, monkeypatch):
    """B real rows, then B synthetic ones of new classes by one call: the run is the same with that written out, and to
    rounding where the features of several batches are made together."""
    ours = Recorded(monkeypatch, argv(tiny_bank, tmp_path / "ours", "CoOp_SHIP", "TRAINER.SHIP.ROWS", "1"))
    ahead = Recorded(monkeypatch, argv(tiny_bank, tmp_path / "ahead", "CoOp_SHIP"))
    for one, other in zip(ours.steps, ahead.steps, strict=True):
        assert torch.equal(one.labels, other.labels) and torch.allclose(one.features, other.features, atol=1e-5)

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


def test_bad_new_class_names(tiny_bank, tmp_path):
    file = tmp_path / "names.txt"
    for names, problem in (("dog\n", "'dog' repeats the class 'dog'"), ("word " * 90, "have more than the 72 tokens")):
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


@pytest.mark.parametrize("trainer", ["CoOp", "Tip_Adapter_F"])
def test_share_zero_is_the_method_without_ship_bit_for_bit(tiny_bank, tmp_path, trainer):
    train.main(argv(tiny_bank, tmp_path / "alone", trainer))
    train.main(argv(tiny_bank, tmp_path / "zero", f"{trainer}_SHIP", "TRAINER.SHIP.SHARE", "0"))
    assert same_state(tmp_path / "alone", tmp_path / "zero")
    assert results(tmp_path / "alone")["metrics"] == results(tmp_path / "zero")["metrics"]
    assert not (tmp_path / "zero" / "generator").exists()


@pytest.mark.parametrize("share, rows", [(0.5, 4), (0.01, 1)])
def test_a_batch_has_that_share_of_synthetic_rows(tiny_bank, tmp_path, monkeypatch, share, rows):
    options = "TRAINER.SHIP.GENERATOR", "gaussian", "TRAINER.SHIP.SHARE", str(share), "TEST.NO_TEST", "True"
    run = Recorded(monkeypatch, argv(tiny_bank, tmp_path, "CoOp_SHIP", *options))
    assert {((step.labels < 4).sum().item(), (step.labels >= 4).sum().item()) for step in run.steps} == {(8, rows)}


@pytest.mark.parametrize("trainer", ["GaussianLDA", "Prototype"])
def test_class_means_stand_in_the_place_of_texts(tiny_bank, tmp_path, trainer):
    """As the equations say; equal after loading, over any names and in any order, and with new classes hidden."""
    train.main(argv(tiny_bank, tmp_path / "alone", trainer))
    hidden = poison(tiny_bank, tmp_path / "hidden.safetensors", lambda part, label: label >= 4 or part == "test")
    train.main(argv(hidden, tmp_path / "ship", f"{trainer}_SHIP", "TEST.NO_TEST", "True"))
    assert "nothing to train" in log(tmp_path / "ship")
    alone, ship = open_run(tmp_path / "alone"), open_run(tmp_path / "ship")
    x = F.normalize(torch.randn(9, 256, generator=torch.Generator().manual_seed(0)), dim=1)
    means, texts = ship.class_means(NAMES), alone.head_for(NAMES).hand_written(NAMES)
    assert torch.allclose(means.norm(dim=1), torch.ones(7)) and not torch.allclose(means, texts, atol=0.1)
    scale, plain = ship.head.logit_scale, alone.logits(alone.head_for(NAMES), x)
    if trainer == "GaussianLDA":
        expected = plain + scale * x @ (means - texts).t()
    else:
        of_base = alone.head.means
        rows = torch.cat([of_base, means[4:] + of_base.mean(0) - means[:4].mean(0)])
        expected = scale * x @ F.normalize(rows, dim=1).t()
    found = ship.logits(ship.head_for(NAMES), x)
    assert torch.allclose(found, expected, atol=1e-4)
    assert torch.allclose(ship.logits(ship.head_for(NAMES[::-1]), x), found.flip(1), atol=1e-4)
    other = ship.logits(ship.head_for(["cat", "lobster"]), x)  # a name that nobody gave while training
    assert torch.allclose(other[:, 0], found[:, 1], atol=1e-4) and torch.isfinite(other).all()
