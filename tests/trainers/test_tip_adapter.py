"""Tip-Adapter and Tip-Adapter-F against plain formulations, their search of alpha and beta, and the real command
line."""

import json
import math
import random
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from dassl.data.datasets import Datum
from dassl.utils import UserError
from runs import Recorder, argv, forget_identity, newest_state, results, train_killed_before_epoch
from tiny_data import NAMES, make_bank
from trainers.core.errors import ClassesUnsupported
from trainers.core.feature_trainer import FeatureTrainer
from trainers.core.features.bank import read_bank, write_bank
from trainers.core.run.selection import held_out, val_is_test

import train
from trainers.tip_adapter import TipHead, grid, search

TRAINERS = ["Tip_Adapter", "Tip_Adapter_F", "Tip_Adapter_F_SHIP"]


def plain_logits(f, text, keys, values, alpha, beta, scale=100):
    """The published formula, with CLIP's 100 for another backbone's logit scale."""
    return scale * f @ text.t() + alpha * torch.exp(-beta * (1 - f @ keys.t())) @ values


def make_head(names=NAMES, shots=3, scale=100.0, alpha=1.17, beta=5.5, learned=True, seed=0, d=16):
    draw = torch.Generator().manual_seed(seed)
    backbone = SimpleNamespace(logit_scale=torch.tensor(math.log(scale)))
    text, keys = (F.normalize(torch.randn(n, d, generator=draw), dim=-1) for n in (len(names), shots * len(names)))
    return TipHead(backbone, names, text, keys, torch.arange(len(names)).repeat_interleave(shots), alpha, beta, learned)


def unit(n, d=16, seed=1):
    return F.normalize(torch.randn(n, d, generator=torch.Generator().manual_seed(seed)), dim=-1)


def checkpoint(out, epoch=3):
    return torch.load(Path(out) / f"tip_adapter/model.pth.tar-{epoch}", weights_only=True)


# ------------------------------------------------------------------------------------------------------------
# mathematics


@pytest.mark.parametrize("scale", [100.0, 12.2])
def test_logits_and_key_gradients_equal_the_published_formula(scale):
    head, features, labels = make_head(scale=scale), unit(5), torch.tensor([0, 1, 2, 3, 4])
    keys, values = head.keys.detach().clone().requires_grad_(), torch.eye(len(NAMES)).repeat_interleave(3, 0)
    logits, expected = head(features), plain_logits(features, head.text_features, keys, values, 1.17, 5.5, scale)
    torch.testing.assert_close(logits, expected, rtol=1e-5, atol=1e-5)
    F.cross_entropy(logits, labels).backward()
    F.cross_entropy(expected, labels).backward()
    torch.testing.assert_close(head.keys.grad, keys.grad, rtol=1e-4, atol=1e-7)


def test_classes_of_the_cache_keep_their_keys_and_columns():
    head, features = make_head(), unit(5)
    chosen = [NAMES[4], NAMES[1]]
    part = head.for_classes(chosen)
    torch.testing.assert_close(part(features), head(features)[:, [4, 1]])
    assert part.keys.shape == (6, 16) and part.labels.tolist() == [1, 1, 1, 0, 0, 0]
    torch.testing.assert_close(part.for_classes([NAMES[1]])(features), head(features)[:, [1]])
    with pytest.raises(ClassesUnsupported, match="2 of the classes .* 'zebra'.*Tip_Adapter_F_SHIP"):
        head.for_classes(["zebra", NAMES[0], "okapi"])


def test_names_that_occur_twice_stand_for_each_in_turn():
    head, features = make_head(names=["missile", "dog", "missile"]), unit(5)
    torch.testing.assert_close(head.for_classes(["missile", "missile"])(features), head(features)[:, [0, 2]])
    with pytest.raises(ClassesUnsupported, match="missile"):
        head.for_classes(["missile"] * 3)


def test_grid_is_the_published_one():
    assert grid("BETA_GRID", (0.1, 7.0, 200)) == pytest.approx([i * (7 - 0.1) / 200 + 0.1 for i in range(200)])
    assert grid("ALPHA_GRID", (0.1, 3.0, 20)) == pytest.approx([i * (3 - 0.1) / 20 + 0.1 for i in range(20)])
    assert grid("ALPHA_GRID", (2, 2, 1)) == [2]


def test_search_equals_brute_force_with_ties_to_the_lower_loss():
    head, features = make_head(), unit(40)
    labels = head(features).argmax(1)
    labels[::3] = (labels[::3] + 1) % len(NAMES)
    alphas, betas = grid("ALPHA_GRID", (0.1, 30.0, 7)), grid("BETA_GRID", (0.1, 12.0, 9))
    scored = []
    for alpha in alphas:
        for beta in betas:
            head.set(alpha, beta)
            logits = head(features).detach()
            scored.append(
                (
                    (logits.argmax(1) == labels).double().mean().item() * 100,
                    -F.cross_entropy(logits, labels).item(),
                    alpha,
                    beta,
                )
            )
    best = max(scored)
    assert sum(score[0] == best[0] for score in scored) > 1, "the example should have a tie"
    accuracy, alpha, beta = search(head, features, labels, alphas, betas)
    assert (accuracy, alpha, beta) == (pytest.approx(best[0]), best[2], best[3])


# ------------------------------------------------------------------------------------------------------- the command
# line


def test_keys_are_the_mean_over_views_and_values_their_labels(tiny_bank, tmp_path):
    train.main(argv(tiny_bank, tmp_path, "Tip_Adapter", "DATASET.NUM_SHOTS", 6))
    saved = checkpoint(tmp_path, 0)["state_dict"]
    tensors, metadata = read_bank(tiny_bank)
    offsets, items = tensors["train.offsets"], json.loads(metadata["split"])["train"]
    expected = {}
    for i, (_, label, _) in enumerate(items):
        mean = tensors["train.features"][offsets[i] : offsets[i + 1]].float().mean(0)
        expected.setdefault(label, []).append(mean / mean.norm())
    assert saved["keys"].shape == (24, 256)
    for label in range(4):  # the base half
        own = saved["keys"][saved["labels"] == label]
        assert len(own) == 6 and all((own - key).norm(dim=1).min() < 1e-5 for key in expected[label])


def test_losses_of_a_run_equal_plain_adamw_on_the_plain_formula(tiny_bank, tmp_path, monkeypatch, miniclip_backbone):
    seen = Recorder(monkeypatch)
    train.main(
        argv(tiny_bank, tmp_path, "Tip_Adapter_F", "TRAINER.TIP_ADAPTER.ALPHA", 1.3, "TRAINER.TIP_ADAPTER.BETA", 2.0)
    )
    scale, text = miniclip_backbone.logit_scale.exp().detach(), seen.trainer.head.text_features
    keys, values = seen.initial["keys"].requires_grad_(), F.one_hot(seen.initial["labels"]).float()
    optimizer = torch.optim.AdamW([keys], lr=1e-3, eps=1e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 6)  # three epochs of two batches, step by step
    for (features, labels), loss, rate in zip(seen.batches, seen.losses, seen.rates):
        assert rate == pytest.approx(optimizer.param_groups[0]["lr"])
        expected = F.cross_entropy(plain_logits(features, text, keys, values, 1.3, 2.0, scale), labels)
        assert loss == pytest.approx(expected.item(), rel=1e-4, abs=1e-6)
        optimizer.zero_grad()
        expected.backward()
        optimizer.step()
        schedule.step()
    assert len(seen.losses) == 6
    torch.testing.assert_close(seen.trainer.head.keys, keys, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("trainer", TRAINERS)
def test_evaluating_alone_repeats_the_numbers_without_training_features(tiny_bank, tmp_path, monkeypatch, trainer):
    """alpha and beta are in the checkpoint, and the cache needs no training image."""
    train.main(argv(tiny_bank, tmp_path / "run", trainer))
    found = results(tmp_path / "run")
    phrase = "nothing trained" if trainer == "Tip_Adapter" else "last epoch"
    assert found["selection"] == f"{phrase}; alpha, beta on few-shot validation of base classes"
    saved = checkpoint(tmp_path / "run", 0 if trainer == "Tip_Adapter" else 3)["state_dict"]
    assert (
        (found["extra"]["alpha"], found["extra"]["beta"])
        == (saved["alpha"].item(), saved["beta"].item())
        != (1.17, 1.0)
    )

    monkeypatch.setattr(
        FeatureTrainer, "train_set", property(lambda self: pytest.fail("evaluation read training features"))
    )
    for subset, metric in (("base", "base"), ("new", "new"), ("all", "all")):
        args = [
            "--eval-only",
            "--model-dir",
            str(tmp_path / "run"),
            *argv(tiny_bank, tmp_path / subset, trainer, "DATASET.SUBSAMPLE_CLASSES", subset),
        ]
        if metric in found["metrics"]:
            train.main(args)
            again = results(tmp_path / subset, f"results-{subset}.json")
            assert again["metrics"]["accuracy"] == found["metrics"][metric] and again["selection"] == found["selection"]
        else:
            with pytest.raises(ClassesUnsupported, match="Tip_Adapter_F_SHIP"):
                train.main(args)


@pytest.mark.parametrize("trainer", ["Tip_Adapter", "Tip_Adapter_F"])
def test_without_ship_new_classes_are_reported_as_unsupported(tiny_bank, tmp_path, trainer):
    train.main(argv(tiny_bank, tmp_path, trainer))
    found = results(tmp_path)
    assert set(found["metrics"]) == {"base"} and set(found["unsupported"]) == {"new", "all"}
    assert "'sunflower'" in found["unsupported"]["new"] and "Tip_Adapter_F_SHIP" in found["unsupported"]["new"]
    log = (tmp_path / "log.txt").read_text()
    assert "* new_accuracy: not available" in log and not re.search(r"new_accuracy: \d|\* H:", log)


@pytest.mark.parametrize("trainer", TRAINERS[1:])
@pytest.mark.parametrize("when", [2, "search"])
def test_a_killed_run_ends_like_one_left_alone(tiny_bank, tmp_path, monkeypatch, trainer, when):
    train.main(argv(tiny_bank, tmp_path / "whole", trainer))
    args = argv(tiny_bank, tmp_path / "cut", trainer)
    if when == "search":
        with monkeypatch.context() as patch:
            patch.setattr("trainers.tip_adapter.search", lambda *_: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                train.main(args)
    else:
        train_killed_before_epoch(monkeypatch, when, args)
    assert not (tmp_path / "cut/results.json").exists()
    train.main(args)
    one, two = (checkpoint(tmp_path / run)["state_dict"] for run in ("whole", "cut"))
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert results(tmp_path / "whole")["metrics"] == results(tmp_path / "cut")["metrics"]


def test_longer_training_of_a_searched_run_learns_with_the_configured_alpha(tiny_bank, tmp_path, monkeypatch):
    train.main(argv(tiny_bank, tmp_path, "Tip_Adapter_F"))
    forget_identity(tmp_path)  # else it would be refused as another run
    seen = Recorder(monkeypatch)
    train.main(argv(tiny_bank, tmp_path, "Tip_Adapter_F", "OPTIM.MAX_EPOCH", 4))
    assert len(seen.losses) == 2 and seen.initial["alpha"] == 3.0 and seen.initial["beta"] == 1.0


def test_best_val_keeps_the_searched_values_in_the_best_checkpoint(tiny_bank, tmp_path):
    train.main(argv(tiny_bank, tmp_path, "Tip_Adapter_F", "TEST.FINAL_MODEL", "best_val"))
    best = torch.load(tmp_path / "tip_adapter/model-best.pth.tar", weights_only=True)
    assert best["state_dict"]["alpha"] == results(tmp_path)["extra"]["alpha"] != 3.0
    assert "best epoch" in best["selection"] and best["optimizer"] is not None


# ------------------------------------------------------------------------------------------- what the search may look
# at


def changed_bank(source, path, **parts):
    """A copy of a bank with some of its parts replaced: `test` = "noise", or `val` = None for a dataset without
    validation images."""
    tensors, metadata = read_bank(source)
    split = json.loads(metadata["split"])
    if parts.get("test") == "noise":
        tensors["test.features"] = unit(len(tensors["test.features"]), 256).half()
    if "val" in parts:
        split["val"], tensors["val.features"] = [], tensors["val.features"][:0]
    write_bank(path, tensors, {**metadata, "split": json.dumps(split)})
    return path


@pytest.mark.parametrize("trainer", TRAINERS)
def test_test_images_choose_nothing(tiny_bank, tmp_path, trainer):
    other = changed_bank(tiny_bank, tmp_path / "other.safetensors", test="noise")
    train.main(argv(tiny_bank, tmp_path / "a", trainer))
    train.main(argv(other, tmp_path / "b", trainer))
    one, two = (checkpoint(tmp_path / run, 0 if trainer == "Tip_Adapter" else 3)["state_dict"] for run in "ab")
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert results(tmp_path / "a")["metrics"] != results(tmp_path / "b")["metrics"]


def test_without_validation_images_left_over_training_images_serve(tiny_bank, tmp_path, monkeypatch):
    bank = changed_bank(tiny_bank, tmp_path / "bank.safetensors", val=None)
    seen = Recorder(monkeypatch)
    train.main(argv(bank, tmp_path / "held", "Tip_Adapter_F"))
    found, saved = results(tmp_path / "held"), checkpoint(tmp_path / "held")["state_dict"]
    assert found["selection"] == "last epoch; alpha, beta on held-out training images of base classes"
    drawn, labels = seen.trainer.search_set()[0], seen.trainer.train_set
    assert len(drawn) == 8  # two left of six images in each of four classes
    assert not set(map(tuple, drawn.features.tolist())) & set(map(tuple, labels.features.tolist()))
    train.main(argv(bank, tmp_path / "unsearched", "Tip_Adapter_F", "TRAINER.TIP_ADAPTER.SEARCH", "False"))
    # its draw disturbs no other
    assert torch.equal(checkpoint(tmp_path / "unsearched")["state_dict"]["keys"], saved["keys"])
    assert results(tmp_path / "unsearched")["selection"] == "last epoch"
    with pytest.raises(UserError, match="Caltech101 has no validation images.*all were drawn"):
        train.main(argv(bank, tmp_path / "all", "Tip_Adapter_F", "DATASET.NUM_SHOTS", 16))


def test_held_out_draw():
    items = [
        Datum(impath=f"{label}/{i}", label=label, classname=f"c{label}")
        for label in range(3)
        for i in range(10 if label else 2)
    ]
    dataset = SimpleNamespace(unused_train=items)
    random.seed(0)
    state = random.getstate()
    drawn = held_out(dataset, 16, seed=1)
    assert random.getstate() == state
    assert [sum(item.label == label for item in drawn) for label in range(3)] == [2, 4, 4]
    assert drawn == held_out(dataset, 16, seed=1) != held_out(dataset, 16, seed=2)
    assert len(held_out(dataset, 1, seed=1)) == 3 and len(set(drawn)) == 10
    with pytest.raises(UserError, match="unused_train"):
        held_out(SimpleNamespace(), 16, seed=1)


def test_a_test_set_given_as_validation_is_not_used():
    """As stock CoOp's ImageNet reader does."""
    images = [Datum(impath="a"), Datum(impath="b")]
    assert val_is_test(SimpleNamespace(val=images, test=images))
    assert not val_is_test(SimpleNamespace(val=images[:1], test=images[1:])) and not val_is_test(
        SimpleNamespace(val=[], test=images)
    )


# ------------------------------------------------------------------------------------------------------------- bad
# input


@pytest.mark.parametrize(
    "trainer, options, words",
    [
        ("Tip_Adapter", ["DATASET.NUM_SHOTS", 0], "NUM_SHOTS 0 has no images for its cache"),
        ("Tip_Adapter_F_SHIP", ["DATASET.NUM_SHOTS", 0], "NUM_SHOTS 0 has no images for its cache"),
        ("Tip_Adapter", ["TRAINER.TIP_ADAPTER.ALPHA_GRID", "()"], "ALPHA_GRID is (), which is no grid"),
        (
            "Tip_Adapter_F",
            ["TRAINER.TIP_ADAPTER.BETA_GRID", "(0.1, 7.0, 0)"],
            "BETA_GRID is (0.1, 7.0, 0), which is no grid",
        ),
        ("Tip_Adapter_F", ["TRAINER.TIP_ADAPTER.BETA_GRID", "(7.0, 0.1, 20)"], "it must be (from, to, count)"),
        ("Tip_Adapter", ["TRAINER.TIP_ADAPTER.PREC", "fp16"], "TRAINER.TIP_ADAPTER.PREC fp16 needs a GPU"),
    ],
)
def test_bad_options_are_answered_in_words(tiny_bank, tmp_path, trainer, options, words):
    with pytest.raises(UserError) as error:
        train.main(argv(tiny_bank, tmp_path, trainer, *options))
    assert words in str(error.value)
    assert not list(tmp_path.rglob("model.pth.tar-*"))  # said before training, not after


def test_evaluation_without_a_run_and_foreign_checkpoints_are_answered_in_words(tiny_bank, tmp_path):
    with pytest.raises(UserError, match="give --model-dir"):
        train.main(["--eval-only", *argv(tiny_bank, tmp_path / "none", "Tip_Adapter")])
    train.main(argv(tiny_bank, tmp_path / "run", "Tip_Adapter"))
    forget_identity(tmp_path / "run")
    file = tmp_path / "run/tip_adapter/model.pth.tar-0"
    good = torch.load(file, weights_only=True)
    for change, words in (
        ({"keys": good["state_dict"]["keys"][:, :9]}, r"\[16, 9\]"),
        ({"labels": good["state_dict"]["labels"] + 9}, "labels"),
        ({"keys": None}, r"no \['keys'\]"),
    ):
        state = {name: value for name, value in {**good["state_dict"], **change}.items() if value is not None}
        torch.save({**good, "state_dict": state}, file)
        with pytest.raises(UserError, match=f"does not fit Tip_Adapter.*{words}"):
            train.main(
                [
                    "--eval-only",
                    "--model-dir",
                    str(tmp_path / "run"),
                    *argv(tiny_bank, tmp_path / "eval", "Tip_Adapter"),
                ]
            )


@pytest.mark.parametrize("trainer", TRAINERS)
def test_classes_with_fewer_images_than_shots_keep_what_there_is(tmp_path, miniclip_backbone, trainer):
    bank = make_bank(tmp_path / "few.safetensors", miniclip_backbone, train=3)
    train.main(argv(bank, tmp_path / "run", trainer, "DATASET.NUM_SHOTS", 16))
    saved = checkpoint(tmp_path / "run", 0 if trainer == "Tip_Adapter" else 3)["state_dict"]
    assert saved["labels"].bincount().tolist() == [3] * 4 + ([16] * 3 if trainer.endswith("SHIP") else [])
    assert "fewer than 16 training images" in (tmp_path / "run/log.txt").read_text()


def test_fewshot_task_over_all_classes(tiny_bank, tmp_path):
    train.main(argv(tiny_bank, tmp_path, "Tip_Adapter_F", task="fewshot"))
    found = results(tmp_path)
    assert set(found["metrics"]) == {"accuracy"} and found["unsupported"] == {}
    assert found["selection"] == "last epoch; alpha, beta on few-shot validation of all classes"


# ------------------------------------------------------------------------------------------------------------------
# SHIP


def test_ship_gives_new_classes_synthetic_keys_and_mixes_batches(tiny_bank, tmp_path, monkeypatch):
    seen = Recorder(monkeypatch)
    train.main(argv(tiny_bank, tmp_path, "Tip_Adapter_F_SHIP"))
    labels, real = seen.initial["labels"], seen.trainer.train_set.mean()
    assert labels.bincount().tolist() == [4] * 7  # as many keys of a new class as of a base class
    torch.testing.assert_close(seen.initial["keys"][:16], real)
    synthetic = seen.initial["keys"][16:]
    torch.testing.assert_close(synthetic.norm(dim=1), torch.ones(12))
    assert (synthetic @ real.t()).max() < 0.9999 and len(synthetic.unique(dim=0)) == 12
    for features, labels in seen.batches:
        assert len(features) == 16 and bool((labels[:8] < 4).all()) and bool((labels[8:] >= 4).all())
    assert set(results(tmp_path)["metrics"]) >= {"base", "new", "all", "H"}


def test_the_joint_cache_is_searched_by_base_images_among_base_names(tiny_bank, tmp_path, monkeypatch):
    """The new classes' keys and names have no say; alpha and beta then hold for base, new and all names."""
    searched = []
    monkeypatch.setattr(
        "trainers.tip_adapter.search",
        lambda head, features, labels, *grids: searched.append((head, labels)) or (50.0, 2.5, 3.5),
    )
    seen = Recorder(monkeypatch)
    train.main(argv(tiny_bank, tmp_path, "Tip_Adapter_F_SHIP"))
    (head, labels), joint = searched[0], seen.trainer.head
    assert head.classnames == NAMES[:4] and labels.bincount().tolist() == [4] * 4 and head.keys.shape[0] == 16
    features = unit(5, 256)
    torch.testing.assert_close(
        head.forward(features),
        joint.for_classes(NAMES[:4])(features)
        - 2.5 * joint.cache(joint.affinity(features), 3.5)[:, :4]
        + 3.0 * joint.cache(joint.affinity(features), 1.0)[:, :4],
    )
    for names in (NAMES, NAMES[:4], NAMES[4:]):
        part = seen.trainer.head_for(names)
        columns = [NAMES.index(name) for name in names]
        assert (part.alpha, part.beta) == (2.5, 3.5)
        torch.testing.assert_close(part(features), joint(features)[:, columns])


def test_losses_of_the_twin_equal_plain_adamw_on_the_plain_formula(tiny_bank, tmp_path, monkeypatch, miniclip_backbone):
    seen = Recorder(monkeypatch)
    train.main(argv(tiny_bank, tmp_path, "Tip_Adapter_F_SHIP"))
    scale, text = miniclip_backbone.logit_scale.exp().detach(), seen.trainer.head.text_features
    keys, values = seen.initial["keys"].requires_grad_(), F.one_hot(seen.initial["labels"]).float()
    optimizer = torch.optim.AdamW([keys], lr=1e-3, eps=1e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 6)
    for (features, labels), loss in zip(seen.batches, seen.losses):
        expected = F.cross_entropy(plain_logits(features, text, keys, values, 3.0, 1.0, scale), labels)
        assert loss == pytest.approx(expected.item(), rel=1e-4, abs=1e-6)
        optimizer.zero_grad()
        expected.backward()
        optimizer.step()
        schedule.step()
    torch.testing.assert_close(seen.trainer.head.keys, keys, rtol=1e-4, atol=1e-5)


def test_a_transfer_keeps_the_sources_keys_alpha_and_beta(tiny_bank, tmp_path):
    """Domain generalization applies what the source learned: there is nothing to search on, and nothing is reset."""
    alpha = ["TRAINER.TIP_ADAPTER.ALPHA", "0.7", "TRAINER.TIP_ADAPTER.ALPHA_GRID", "(0.3,0.4,1)"]
    train.main(argv(tiny_bank, tmp_path / "source", "Tip_Adapter_F", *alpha, task="fewshot"))
    train.main(
        argv(
            tiny_bank,
            tmp_path / "target",
            "Tip_Adapter_F",
            "MODEL.INIT_WEIGHTS",
            str(tmp_path / "source"),
            task="domain_generalization",
        )
    )
    source, target = newest_state(tmp_path / "source"), newest_state(tmp_path / "target")
    assert source["alpha"].item() == pytest.approx(0.3)
    assert all(torch.equal(source[name], target[name]) for name in ("keys", "labels", "alpha", "beta"))
    assert results(tmp_path / "target")["metrics"]["accuracy"] == results(tmp_path / "source")["metrics"]["accuracy"]
