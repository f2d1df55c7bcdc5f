"""f-CLSWGAN: what a step changes."""

import torch
from runs import argv, results
from tiny_data import NAMES

import train
from trainers import fclswgan, open_run


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
