"""f-CLSWGAN: its loss by hand, and a run on the tiny bank."""

import torch
import torch.nn.functional as F
from runs import argv, results
from tiny_data import NAMES, poison

import train
from trainers import open_run
from trainers.fclswgan import softmax_classifier

QUICK = [f"TRAINER.F_CLSWGAN.{word}" for word in ("HIDDEN_DIM=16", "EPOCHS=3", "SYNTHETIC=5")]


def words(bank, out):
    options = [part for word in QUICK for part in word.split("=")]
    return argv(bank, out, "f_CLSWGAN", *options, task="gzsl")


def test_the_classifier_learns_the_seen_classes_and_then_stays_as_it_is():
    torch.manual_seed(0)
    labels = torch.arange(3).repeat(1000)
    x = F.one_hot(labels, 8) + 0.1 * torch.randn(3000, 8)
    linear = softmax_classifier(x, labels, 3)
    assert (linear(x).argmax(1) == labels).all() and not any(p.requires_grad for p in linear.parameters())


def test_a_run_sees_no_image_of_an_unseen_class(tiny_bank, tmp_path):
    hidden = poison(tiny_bank, tmp_path / "hidden.safetensors", lambda part, label: part != "test" and label >= 4)
    for name, bank in (("whole", tiny_bank), ("hidden", hidden)):
        train.main(words(bank, tmp_path / name))
    found = results(tmp_path / "whole")
    assert found["metrics"] == results(tmp_path / "hidden")["metrics"]
    assert {"seen", "unseen", "H"} <= found["metrics"].keys()
    report = found["extra"]["generator"]
    assert 0 < report["classification"] and {"distance", "penalty"} <= report.keys() and "kl" not in report
    assert open_run(tmp_path / "whole").trained_classnames == NAMES


def test_a_step_moves_generator_and_critic_alone(tiny_bank, tmp_path, monkeypatch):
    from trainers import fclswgan

    seen, original = [], fclswgan.CLSWGAN.step

    def noting(framework, x, labels, classes, optimizers):
        before = {name: value.clone() for name, value in framework.state_dict().items()}
        terms = original(framework, x, labels, classes, optimizers)
        after = framework.state_dict()
        seen.append({name.split(".")[0] for name in before if not torch.equal(before[name], after[name])})
        return terms

    monkeypatch.setattr(fclswgan.CLSWGAN, "step", noting)
    train.main([*words(tiny_bank, tmp_path), "TEST.NO_TEST", "True"])
    assert seen and all(moved == {"generator", "critic"} for moved in seen)  # the classifier and the scale stay
