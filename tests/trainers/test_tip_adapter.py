"""Tip-Adapter and Tip-Adapter-F against plain formulations, their search of alpha and beta, and the real command
line."""

import math
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from dassl.data.datasets import Datum
from dassl.utils import UserError
from helpers.banks import read_bank
from plain import unit
from runs import Recorded, argv, evaluate, log, newest_state, results, same_state
from tiny_data import NAMES

import train
from trainers import open_run
from trainers.core import metrics
from trainers.core.bank import write_bank
from trainers.core.files import ClassesUnsupported
from trainers.core.images import val_is_test
from trainers.core.trainer import FeatureTrainer
from trainers.tip_adapter import TipHead, grid, search

TRAINERS = ["Tip_Adapter", "Tip_Adapter_F", "Tip_Adapter_F_SHIP"]


def plain_logits(f, text, keys, values, alpha, beta, scale=100):
    """The published formula, with CLIP's 100 for another backbone's logit scale."""
    return scale * f @ text.t() + alpha * torch.exp(-beta * (1 - f @ keys.t())) @ values


@pytest.fixture
def head():
    draw = torch.Generator().manual_seed(0)
    backbone = SimpleNamespace(logit_scale=torch.tensor(math.log(12.2)))
    text, keys = (F.normalize(torch.randn(n, 16, generator=draw), dim=-1) for n in (len(NAMES), 3 * len(NAMES)))
    return TipHead(backbone, NAMES, text, keys, torch.arange(len(NAMES)).repeat_interleave(3), 1.17, 5.5, True)


# ---- mathematics


@torch.no_grad()
def test_logits_equal_the_published_formula_and_classes_keep_their_keys(head):
    features, values = unit(5, 16, seed=1), torch.eye(len(NAMES)).repeat_interleave(3, 0)
    expected = plain_logits(features, head.text_features, head.keys, values, 1.17, 5.5, 12.2)
    torch.testing.assert_close(head(features), expected, rtol=1e-5, atol=1e-5)
    part = head.for_classes([NAMES[4], NAMES[1]])
    torch.testing.assert_close(part(features), expected[:, [4, 1]], rtol=1e-5, atol=1e-5)
    assert part.keys.shape == (6, 16) and part.labels.tolist() == [1, 1, 1, 0, 0, 0]
    with pytest.raises(ClassesUnsupported, match="2 of the classes .* 'zebra'.*Tip_Adapter_F_SHIP"):
        head.for_classes(["zebra", NAMES[0], "okapi"])


def test_search_equals_brute_force_with_ties_to_the_lower_loss(head):
    features = unit(40, 16, seed=1)
    labels = head(features).argmax(1)
    labels[::3] = (labels[::3] + 1) % len(NAMES)
    alphas, betas = grid(0.1, 30.0, 7), grid(0.1, 12.0, 9)
    assert betas == pytest.approx([i * (12 - 0.1) / 9 + 0.1 for i in range(9)])  # as published
    scored = []
    for alpha in alphas:
        for beta in betas:
            head.set(alpha, beta)
            logits = head(features).detach()
            accuracy = (logits.argmax(1) == labels).double().mean().item() * 100
            scored.append((accuracy, -F.cross_entropy(logits, labels).item(), alpha, beta))
    best = max(scored)
    assert sum(score[0] == best[0] for score in scored) > 1, "the example should have a tie"
    accuracy, alpha, beta = search(head, features, labels, alphas, betas)
    assert (accuracy, alpha, beta) == (pytest.approx(best[0]), best[2], best[3])


# ---- the command line


@pytest.mark.parametrize("trainer, alpha, beta", [("Tip_Adapter_F", 1.3, 2.0), ("Tip_Adapter_F_SHIP", 3.0, 1.0)])
def test_losses_equal_plain_adamw_on_the_plain_formula(
    tiny_bank, tmp_path, monkeypatch, miniclip_backbone, trainer, alpha, beta
):
    """The rate falls by a cosine step by step, three epochs of two batches."""
    options = ["TRAINER.TIP_ADAPTER.ALPHA", alpha, "TRAINER.TIP_ADAPTER.BETA", beta]
    run = Recorded(monkeypatch, argv(tiny_bank, tmp_path, trainer, *options))
    scale, text = miniclip_backbone.logit_scale.exp().detach(), run.trainer.head.text_features
    values = F.one_hot(run.start["labels"]).float()

    def plain(parameters, features, labels, _):
        return F.cross_entropy(plain_logits(features, text, parameters["keys"], values, alpha, beta, scale), labels)

    losses, parameters = run.plain_losses(plain, lambda trained: torch.optim.AdamW(trained, lr=1.0, eps=1e-4))
    assert run.losses == pytest.approx(losses, rel=1e-4, abs=1e-6) and len(losses) == 6
    rates = [1e-3 * (1 + math.cos(math.pi * step / 6)) / 2 for step in range(6)]
    assert [step.rate for step in run.steps] == pytest.approx(rates)
    torch.testing.assert_close(run.trainer.head.keys, parameters["keys"], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("trainer", TRAINERS)
def test_evaluating_alone_repeats_the_numbers_without_training_features(tiny_bank, tmp_path, monkeypatch, trainer):
    """alpha and beta are in the checkpoint, and the cache needs no training image; without SHIP new classes have no
    column, and the run says so."""
    train.main(argv(tiny_bank, tmp_path / "run", trainer))
    found, saved = results(tmp_path / "run"), newest_state(tmp_path / "run")
    phrase = "nothing trained" if trainer == "Tip_Adapter" else "last epoch"
    assert found["selection"] == f"{phrase}; alpha, beta on few-shot validation of base classes"
    assert found["extra"].items() >= {"alpha": saved["alpha"].item(), "beta": saved["beta"].item()}.items()
    assert (found["extra"]["alpha"], found["extra"]["beta"]) != (1.17, 1.0)
    if not trainer.endswith("SHIP"):
        assert {*found["metrics"]} == {"base"} and {*found["unsupported"]} == {"new", "all"}
        assert "'sunflower'" in found["unsupported"]["new"] and "Tip_Adapter_F_SHIP" in found["unsupported"]["new"]
        assert "* new_accuracy: not available" in log(tmp_path / "run")

    unread = property(lambda self: pytest.fail("evaluation read training features"))
    monkeypatch.setattr(FeatureTrainer, "train_set", unread)
    for subset in found["metrics"].keys() & {"base", "new", "all"}:
        again = evaluate(tmp_path / "run", tiny_bank, tmp_path / subset, trainer, subset=subset)
        assert again["metrics"]["accuracy"] == found["metrics"][subset] and again["selection"] == found["selection"]


# ---- what the search may look at


def test_test_images_choose_nothing(tiny_bank, tmp_path):
    tensors, metadata = read_bank(tiny_bank)
    noise = {**tensors, "test.features": unit(len(tensors["test.features"]), 256).half()}
    write_bank(tmp_path / "other.safetensors", noise, metadata)
    train.main(argv(tiny_bank, tmp_path / "a", "Tip_Adapter_F_SHIP"))
    train.main(argv(tmp_path / "other.safetensors", tmp_path / "b", "Tip_Adapter_F_SHIP"))
    assert same_state(tmp_path / "a", tmp_path / "b")
    assert results(tmp_path / "a")["metrics"] != results(tmp_path / "b")["metrics"]


def test_without_validation_images_left_over_training_images_serve(tiny_bank, tmp_path, monkeypatch):
    tensors, metadata = read_bank(tiny_bank)
    split, bank = metadata["split"], tmp_path / "bank.safetensors"
    split["val"], tensors["val.features"] = [], tensors["val.features"][:0]
    write_bank(bank, tensors, {**metadata, "split": split})
    run = Recorded(monkeypatch, argv(bank, tmp_path / "held", "Tip_Adapter_F"))
    selection = results(tmp_path / "held")["selection"]
    assert selection == "last epoch; alpha, beta on held-out training images of base classes"
    drawn, trained = run.trainer.search_set()[0], run.trainer.train_set
    assert len(drawn) == 8  # two left of six images in each of four classes
    assert not set(map(tuple, drawn.features.tolist())) & set(map(tuple, trained.features.tolist()))
    train.main(argv(bank, tmp_path / "unsearched", "Tip_Adapter_F", "TRAINER.TIP_ADAPTER.SEARCH", "False"))
    unsearched, searched = newest_state(tmp_path / "unsearched"), newest_state(tmp_path / "held")
    assert torch.equal(unsearched["keys"], searched["keys"])  # its draw disturbs no other
    assert results(tmp_path / "unsearched")["selection"] == "last epoch"
    with pytest.raises(UserError, match="Caltech101 has no validation images.*all were drawn"):
        train.main(argv(bank, tmp_path / "all", "Tip_Adapter_F", "DATASET.NUM_SHOTS", 16))


def test_a_test_set_given_as_validation_is_not_used():
    """As stock CoOp's ImageNet reader does."""
    images = [Datum(impath="a"), Datum(impath="b")]
    assert val_is_test(SimpleNamespace(val=images, test=images))
    assert not val_is_test(SimpleNamespace(val=images[:1], test=images[1:]))
    assert not val_is_test(SimpleNamespace(val=[], test=images))


# ---- SHIP and transfer


def test_ship_gives_new_classes_synthetic_keys_and_base_images_choose(tiny_bank, tmp_path, monkeypatch):
    """The new classes' keys and names have no say in the search; alpha and beta then hold for base, new and all
    names."""
    searched = []

    def found(head, features, labels, *grids):
        searched.append((head, labels))
        return 50.0, 2.5, 3.5

    monkeypatch.setattr("trainers.tip_adapter.search", found)
    run = Recorded(monkeypatch, argv(tiny_bank, tmp_path, "Tip_Adapter_F_SHIP"))
    real, keys = run.trainer.train_set.mean(), run.start["keys"]
    assert run.start["labels"].bincount().tolist() == [4] * 7  # as many keys of a new class as of a base class
    torch.testing.assert_close(keys[:16], real)
    torch.testing.assert_close(keys[16:].norm(dim=1), torch.ones(12))
    assert (keys[16:] @ real.t()).max() < 0.9999 and len(keys[16:].unique(dim=0)) == 12
    for step in run.steps:
        assert len(step.labels) == 16 and (step.labels[:8] < 4).all() and (step.labels[8:] >= 4).all()
    (head, labels), joint, features = searched[0], run.trainer.head, unit(5, 256, seed=1)
    assert head.classnames == NAMES[:4] and labels.bincount().tolist() == [4] * 4 and head.keys.shape[0] == 16
    assert torch.equal(head.keys, joint.keys[:16])
    for names in (NAMES, NAMES[:4], NAMES[4:]):
        part = run.trainer.head_for(names)
        assert (part.alpha, part.beta) == (2.5, 3.5)
        torch.testing.assert_close(part(features), joint(features)[:, [NAMES.index(name) for name in names]])


def test_a_transfer_keeps_the_sources_keys_alpha_and_beta(tiny_bank, tmp_path):
    """Domain generalization applies what the source learned: there is nothing to search on, and nothing is reset."""
    source, target = tmp_path / "source", tmp_path / "target"
    alpha = ["TRAINER.TIP_ADAPTER.ALPHA", "0.7", "TRAINER.TIP_ADAPTER.ALPHA_GRID", "(0.3,0.4,1)"]
    train.main(argv(tiny_bank, source, "Tip_Adapter_F", *alpha, task="fewshot"))
    selection = "last epoch; alpha, beta on few-shot validation of all classes"
    assert {*results(source)["metrics"]} == {"accuracy"} and results(source)["selection"] == selection
    start = ["MODEL.INIT_WEIGHTS", source, *alpha]
    train.main(argv(tiny_bank, target, "Tip_Adapter_F", *start, task="domain_generalization"))
    before, after = newest_state(source), newest_state(target)
    assert before["alpha"].item() == pytest.approx(0.3)
    assert all(torch.equal(before[name], after[name]) for name in ("keys", "labels", "alpha", "beta"))
    assert results(target)["metrics"]["accuracy"] == results(source)["metrics"]["accuracy"]


def test_synthetic_class_means_in_the_place_of_text(tiny_bank, tmp_path, monkeypatch):
    """What evaluation finds of the saved run is what the run found; without a generator it is refused."""
    option = ["TRAINER.TIP_ADAPTER.TEXT", "synthetic"]
    run = Recorded(monkeypatch, [*argv(tiny_bank, tmp_path, "Tip_Adapter_F_SHIP"), *option])
    head, names = run.trainer.head, run.trainer.trained_classnames
    assert torch.equal(head.text_features, run.trainer.class_means(names))
    again = open_run(str(tmp_path))
    again.open_data(training=False)
    assert metrics.evaluate(again)[0] == pytest.approx(results(tmp_path)["metrics"])
    with pytest.raises(UserError, match="TEXT synthetic needs .*use Tip_Adapter_F_SHIP"):
        train.main([*argv(tiny_bank, tmp_path / "alone", "Tip_Adapter"), *option])
