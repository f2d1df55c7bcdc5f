"""f-CLSWGAN: its classifier, and what a step changes."""

import torch
import torch.nn.functional as F
from runs import argv, results
from tiny_data import NAMES

import train
from trainers import fclswgan, open_run


def test_the_classifier_learns_the_seen_classes_and_then_stays_as_it_is():
    torch.manual_seed(0)
    labels = torch.arange(3).repeat(1000)
    x = F.one_hot(labels, 8) + 0.1 * torch.randn(3000, 8)
    linear = fclswgan.softmax_classifier(x, labels, 3)
    assert (linear(x).argmax(1) == labels).all() and not any(p.requires_grad for p in linear.parameters())


def test_a_step_moves_generator_and_critic_alone(tiny_bank, tmp_path, monkeypatch):
    seen, original = [], fclswgan.CLSWGAN.step

    def noting(framework, x, labels, classes, optimizers):
        before = {name: value.clone() for name, value in framework.state_dict().items()}
        terms = original(framework, x, labels, classes, optimizers)
        after = framework.state_dict()
        seen.append({name.split(".")[0] for name in before if not torch.equal(before[name], after[name])})
        return terms

    monkeypatch.setattr(fclswgan.CLSWGAN, "step", noting)
    train.main(argv(tiny_bank, tmp_path, "f_CLSWGAN", task="gzsl"))
    assert seen and all(moved == {"generator", "critic"} for moved in seen)  # the classifier and the scale stay
    report = results(tmp_path)["extra"]["generator"]
    assert 0 < report["classification"] and {"distance", "penalty"} <= report.keys() and "kl" not in report
    assert open_run(tmp_path).trained_classnames == NAMES
