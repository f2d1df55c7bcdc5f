"""PVA: its formulas against numbers and written out by hand, and every task through the command line."""

import math

import pytest
import torch
import torch.nn.functional as F
from plain import hand_written, plain_text_features
from runs import EVERY_STEP, Recorded, argv, newest_state, results
from tiny_data import NAMES, accuracy, features_of, make_bank, poison

import train
from trainers import open_run
from trainers.coop_vpt import mean_kl
from trainers.pva import squared_w2, with_residual

BASE, NEW = NAMES[:4], NAMES[4:]
RESIDUAL = ["TRAINER.PVA.RESIDUAL", "1.0"]
TARGET = ["forest", "dog", "river"]  # one of them is a class of the source too


def test_golden_values():
    mean, log_variance, nothing = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, math.log(4)]]), torch.zeros(1, 2)
    assert mean_kl(mean, log_variance).item() == pytest.approx(0.6534264)
    of_means, of_spreads = squared_w2(mean, log_variance, nothing, nothing)
    assert (of_means.item(), of_spreads.item()) == pytest.approx((1.0, 1.0))
    for weight, expected in (1.0, (0.89442718, 0.44721359)), (0.5, (0.80873609, 0.58817166)):
        found = with_residual(torch.tensor([[3.0, 4.0]]), torch.tensor([[1.0, 0.0]]), weight)
        assert found[0].tolist() == pytest.approx(expected)


def plain_adapter(parameters, side, features):
    """P2 written out: mu, log s2, each [N, k]."""
    h = torch.relu(features @ parameters[f"{side}.hidden.weight"].t() + parameters[f"{side}.hidden.bias"])
    mean, log_variance = (
        h @ parameters[f"{side}.{part}.weight"].t() + parameters[f"{side}.{part}.bias"]
        for part in ("mean", "log_variance")
    )
    return mean, log_variance.clamp(-10, 10)


@pytest.mark.parametrize("variational", [True, False])
def test_losses_equal_the_plain_formulation(tiny_bank, tmp_path, monkeypatch, miniclip_backbone, variational):
    """Each loss is P8, summed up image by image and class by class; prompts through all 77 positions."""
    options = "DATALOADER.TRAIN_X.BATCH_SIZE 4 OPTIM.NAME sgd TRAINER.PVA.KL_WEIGHT 0.3 TRAINER.PVA.ALIGN_WEIGHT 0.7"
    options = [*EVERY_STEP, *options.split(), "TRAINER.PVA.VARIATIONAL", variational]
    run = Recorded(monkeypatch, argv(tiny_bank, tmp_path, "PVA", *options))
    scale, k = miniclip_backbone.logit_scale.exp(), miniclip_backbone.embed_dim
    assert run.trainer.trained_classnames == BASE

    def plain(parameters, x, labels, _):
        t = plain_text_features(miniclip_backbone, BASE, parameters["ctx"])
        (mu_v, log_v), (mu_t, log_t) = plain_adapter(parameters, "visual", x), plain_adapter(parameters, "textual", t)
        z_v, z_t = mu_v, mu_t
        if variational:
            z_v = mu_v + (log_v / 2).exp() * torch.randn(len(x), k)
            z_t = mu_t + (log_t / 2).exp() * torch.randn(len(t), k)
        loss = 0
        for i, label in enumerate(labels.tolist()):
            logits = torch.stack([scale * (z_v[i] @ z) / z_v[i].norm() / z.norm() for z in z_t])
            loss = loss - logits.log_softmax(0)[label] / len(x)
            apart = ((mu_v[i] - mu_t[label]) ** 2).sum()
            if variational:
                apart = apart + (((log_v[i] / 2).exp() - (log_t[label] / 2).exp()) ** 2).sum()
                loss = loss + 0.3 * ((mu_v[i] ** 2 + log_v[i].exp() - 1 - log_v[i]).sum() / (2 * k)) / len(x)
            loss = loss + 0.7 * apart / k / len(x)
        if variational:
            for mu, log in zip(mu_t, log_t):
                loss = loss + 0.3 * ((mu**2 + log.exp() - 1 - log).sum() / (2 * k)) / len(t)
        return loss

    assert run.losses == pytest.approx(run.plain_losses(plain)[0], abs=2e-4)


@pytest.fixture(scope="module")
def bank(tmp_path_factory, miniclip_backbone):
    path = tmp_path_factory.mktemp("bank") / "noisy.safetensors"
    return make_bank(path, miniclip_backbone, noise=2.0, train=8, val=10, test=12)


@pytest.fixture(scope="module")
def run(bank, tmp_path_factory):
    out = tmp_path_factory.mktemp("run") / "base2new/caltech101/shots_4/PVA/miniclip/seed1"
    train.main(argv(bank, out, "PVA", "OPTIM.MAX_EPOCH", "6", "TRAINER.PVA.KEEP", "0.8"))
    return out


def plain_experts(backbone, state, x, base=BASE, new=NEW):
    """P12 over `base`, P13 over `new`, and P10, from a state dict and the backbone's own 77-token path."""
    unit, scale = lambda rows: F.normalize(rows, dim=-1), backbone.logit_scale.exp()
    image = unit(plain_adapter(state, "visual", x)[0])

    def classes(names):
        return unit(plain_adapter(state, "textual", plain_text_features(backbone, names, state["ctx"]))[0])

    refined = unit(image + x) @ unit(classes(new) + hand_written(backbone, new)).t()
    similarity = (image @ state["prototypes"].t()).max(1).values if len(state["prototypes"]) else None
    return scale * image @ classes(base).t(), scale * refined, similarity


@torch.no_grad()
def test_base_new_and_all_by_hand(run, bank, miniclip_backbone):
    x, labels = features_of(bank)
    state, metrics = newest_state(run), results(run)["metrics"]
    base, new, similarity = plain_experts(miniclip_backbone, state, x)
    old, right = labels < 4, {}
    right["base"] = (base.argmax(1) == labels)[old]
    right["new"] = (new.argmax(1) + 4 == labels)[~old]
    right["all"] = torch.where(similarity >= state["eta"], base.argmax(1), new.argmax(1) + 4) == labels
    for name, hits in right.items():
        assert metrics[name] == pytest.approx(hits.double().mean().item() * 100), name
    found = results(run)["extra"]["pva"]
    assert {"openworld_auc", "ausuc"} <= metrics.keys()
    assert found["reconstruction"] and "eta on few-shot validation of base classes" in results(run)["selection"]


@torch.no_grad()
def test_prototypes_and_eta_are_those_of_the_base_images(run, bank):
    trainer = open_run(str(run), options=["FEATURES.BANK", str(bank)])
    train.set_random_seed(1)
    trainer.open_data(training=True)
    state, found = newest_state(run), trainer.train_set
    latent, owner = plain_adapter(state, "visual", found.features)[0], found.labels.repeat_interleave(found.views)
    for label in range(4):
        assert torch.allclose(state["prototypes"][label], F.normalize(latent[owner == label].mean(0), dim=0), atol=1e-5)
    images = trainer.data.val_set
    similarity = trainer.head.similarity(images.first())
    assert (similarity >= state["eta"]).sum().item() == pytest.approx(0.8 * len(images), abs=1)


def test_without_validation_images_each_image_is_taken_out_of_its_prototype(miniclip_backbone, tmp_path):
    """Where every class has one image nothing is left of a prototype, so nothing separates."""
    for count in (4, 1):
        bank = make_bank(tmp_path / f"{count}.safetensors", miniclip_backbone, train=count, val=0, noise=4.0, views=1)
        train.main(argv(bank, tmp_path / str(count), "PVA", "DATASET.NUM_SHOTS", count, "TRAINER.PVA.KEEP", "0.8"))
    assert newest_state(tmp_path / "1")["eta"] == -math.inf
    state, (x, labels) = newest_state(tmp_path / "4"), features_of(tmp_path / "4.safetensors", "train")
    means, found = plain_adapter(state, "visual", x)[0], []
    for i in (labels < 4).nonzero().flatten().tolist():
        others = (labels == labels[i]) & (torch.arange(len(x)) != i)
        own = F.cosine_similarity(means[i], F.normalize(means[others], dim=-1).sum(0), dim=0)
        rest = [state["prototypes"][label] @ means[i] / means[i].norm() for label in range(4) if label != labels[i]]
        found.append(max(own, *rest))
    eta = torch.stack(found).quantile(0.2, interpolation="lower")
    assert state["eta"].item() == pytest.approx(eta.item(), abs=1e-5)


@torch.no_grad()
def test_the_options_of_the_ablation(run, bank, miniclip_backbone):
    """A large residual is zero-shot CLIP on new names; without it, or without separation, P12 answers for them."""
    x = F.normalize(features_of(bank)[0], dim=1)  # a bank keeps half precision: its norms are 1 to some 1e-4 only
    zero_shot = miniclip_backbone.logit_scale.exp() * x @ hand_written(miniclip_backbone, NEW).t()
    large, without, together = (
        open_run(str(run), options=[f"TRAINER.PVA.{key}", value])
        for key, value in (("RESIDUAL", "1e6"), ("RESIDUAL", "0"), ("SEPARATE", "False"))
    )
    assert torch.allclose(large.logits(large.head_for(NEW), x), zero_shot, atol=1e-4)
    base, _, _ = plain_experts(miniclip_backbone, newest_state(run), x, base=NAMES)
    assert torch.allclose(without.logits(without.head_for(NEW), x), base[:, 4:], atol=1e-3)
    assert torch.allclose(together.logits(together.head_for(NAMES), x), base, atol=1e-3)


def test_equal_names_are_told_apart_by_position(run):
    head = open_run(str(run)).head.for_classes(["pizza", "cat", "dog", "cat"])
    assert head.is_base.tolist() == [False, True, True, False]
    assert head.for_classes(["cat", "pizza", "cat"]).is_base.tolist() == [True, False, False]


@pytest.fixture(scope="module")
def source(bank, tmp_path_factory):
    out = tmp_path_factory.mktemp("source") / "base2new/caltech101/shots_4/PVA_SHIP/miniclip/seed1"
    train.main(argv(bank, out, "PVA_SHIP", *RESIDUAL))
    return out


def test_with_ship_the_loss_is_over_base_and_new_names(source):
    state = newest_state(source)
    assert state["is_base"].tolist() == [True] * 4 + [False] * 3 and len(state["prototypes"]) == 4
    assert set(results(source)["metrics"]) >= {"base", "new", "H", "all"} and state["eta"].isfinite()
    trainer = open_run(str(source))
    assert trainer.trained_classnames == NAMES and trainer.head_for(NAMES).separates


@pytest.mark.parametrize("task, novel", [("cross_dataset", True), ("domain_generalization", False)])
def test_on_a_target_all_names_are_of_one_kind(source, tmp_path, miniclip_backbone, task, novel):
    """Also "dog", which the source has too: novel on a target of transfer, base in domain generalization."""
    target = make_bank(tmp_path / "target.safetensors", miniclip_backbone, names=TARGET, test=12, noise=4.0)
    target = poison(target, tmp_path / "poisoned.safetensors", lambda part, label: part != "test")
    options = ["MODEL.INIT_WEIGHTS", str(source), *RESIDUAL]
    train.main(argv(target, tmp_path / "run", "PVA", *options, task=task))
    x, labels = features_of(target)
    state = newest_state(source)
    with torch.no_grad():
        base, refined, _ = plain_experts(miniclip_backbone, state, x, base=TARGET, new=TARGET)
    right = accuracy((refined if novel else base).argmax(1), labels)
    found = results(tmp_path / "run")
    assert found["metrics"] == {"accuracy": pytest.approx(right)} and found["source"] == "caltech101"
    assert newest_state(tmp_path / "run")["is_base"].tolist() == [not novel] * 3
    trainer = open_run(str(tmp_path / "run"))  # without its task, the head remembers
    found = trainer.logits(trainer.head_for(TARGET), x)
    assert torch.allclose(found, refined if novel else base, atol=1e-3)
