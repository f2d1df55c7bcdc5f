"""SHIP's options beyond the paper: their formulas by hand, the paper's values change nothing, and each as a run."""

import math
import shutil

import pytest
import torch
import torch.nn.functional as F
from dassl.utils import UserError
from runs import (
    ROOT,
    argv,
    check_a_killed_run_ends_like_one_left_alone,
    forget_identity,
    log,
    newest_state,
    results,
)
from tiny_data import NAMES, make_bank
from trainers.core.features.feature_set import FeatureSet
from trainers.core.features.statistics import eigenvalues
from trainers.ship import collapse, episodes
from trainers.ship.bimodal import BimodalVAE, kl_between
from trainers.ship.episodes import EpisodicVAE, energy_distance
from trainers.ship.generator import FeatureGenerator
from trainers.ship.matching import Matched, mean_difference
from trainers.ship.model import ARCHITECTURE, TRAINING, build_framework, decisive_keys
from trainers.ship.plugin import SHIP, extend_cfg
from yacs.config import CfgNode

import train
from trainers.coop import CoOp
from trainers.core.model.prompts import ClassTokens, encode_texts, fill
from trainers.generative.vae import VAE, kl_to_standard_normal

VARIANTS = {
    "auto": ["TRAINER.SHIP.KL_WEIGHT_RULE", "auto"],
    "bimodal": ["TRAINER.SHIP.FRAMEWORK", "bimodal"],
    "episodes": ["TRAINER.SHIP.EPISODES", "True"],
    "base share": ["TRAINER.SHIP.BASE_SHARE", "0.25"],
    "match": ["TRAINER.SHIP.MATCH", "mean"],
}


def ship_options(**changes):
    cfg = CfgNode()
    extend_cfg(cfg)
    for key, value in {"HIDDEN_DIM": 12, "LATENT_DIM": 6, **changes}.items():
        cfg.TRAINER.SHIP[key] = value
    return cfg.TRAINER.SHIP


def few(count=9, classes=3):
    draw = torch.Generator().manual_seed(5)
    features = F.normalize(torch.randn(count, 256, generator=draw), dim=-1)
    return FeatureSet(features, torch.arange(count + 1), torch.arange(count) % classes)


# ------------------------------------------------------------------------------- the collapse of the posterior


def test_the_prediction_by_hand():
    """beta 0.2: eigenvalues above 0.1 are used."""
    spectrum = torch.tensor([0.4, 0.2, 0.1, 0.05], dtype=torch.float64)
    kl, error = collapse.predicted(spectrum, 0.2)
    assert kl == pytest.approx(0.5 * (math.log(4) + math.log(2))) and error == pytest.approx(0.15 + 2 * 0.1)
    assert collapse.predicted(spectrum, 0.8) == (0.0, pytest.approx(0.75))
    assert collapse.critical_weight(spectrum) == pytest.approx(0.8)


def test_the_weight_that_keeps_a_share_of_the_variance():
    spectrum = torch.tensor([0.5, 0.3, 0.1, 0.06, 0.04], dtype=torch.float64)
    assert collapse.keeping_weight(spectrum) == pytest.approx(2 * 0.1)  # 0.5 + 0.3 + 0.1 are 90%
    assert collapse.keeping_weight(spectrum, 0.91) == pytest.approx(2 * 0.06)
    assert collapse.keeping_weight(spectrum, 1.0) == pytest.approx(2 * 0.04)


def test_the_two_spectra_by_hand(miniclip_backbone):
    found, texts = few(), encode_texts(miniclip_backbone, fill("a photo of a {}.", NAMES[:3])).float()
    x, own = found.features.double(), texts[found.labels].double()
    share = sum(float(x[i] @ own[i]) for i in range(9)) / 9
    left = [x[i] - share * own[i] for i in range(9)]
    expected = torch.linalg.eigvalsh(sum(torch.outer(r, r) for r in left) / 9).flip(0)
    assert torch.allclose(collapse.name_spectrum(found, texts), expected.clamp(min=0), atol=1e-9)
    means = torch.stack([x[found.labels == label].mean(0) for label in range(3)])
    within = (x - means[found.labels]).t() @ (x - means[found.labels]) / 9
    assert torch.allclose(collapse.class_spectrum(found, 3), eigenvalues(within), atol=1e-9)
    assert collapse.class_spectrum(found, 3).sum() == pytest.approx(within.trace().item())


def test_a_linear_vae_agrees_with_the_prediction():
    """The optimum of a linear VAE in closed form (Lucas et al.): its own error and KL at the predicted values."""
    torch.manual_seed(0)
    spectrum, beta = torch.tensor([0.5, 0.2, 0.02], dtype=torch.float64), 0.1
    used = spectrum > beta / 2
    gain = torch.where(used, (spectrum - beta / 2).clamp(min=0).sqrt(), torch.zeros(3, dtype=torch.float64))
    x = torch.randn(200000, 3, dtype=torch.float64) * spectrum.sqrt()
    precision = gain**2 / (beta / 2) + 1
    mu, variance = x * gain / (beta / 2) / precision, 1 / precision
    z = mu + torch.randn_like(x) * variance.sqrt()
    error = (x - gain * z).square().sum(1).mean().item()
    kl = 0.5 * (mu.square() + variance - variance.log() - 1).sum(1).mean().item()
    assert collapse.predicted(spectrum, beta) == (pytest.approx(kl, rel=0.02), pytest.approx(error, rel=0.02))


def test_every_vae_run_reports_it_and_auto_takes_the_rules_weight(tiny_bank, tmp_path):
    train.main(argv(tiny_bank, tmp_path / "paper", "CoOp_SHIP"))
    train.main(argv(tiny_bank, tmp_path / "auto", "CoOp_SHIP", *VARIANTS["auto"]))
    paper, auto = (results(tmp_path / name)["extra"]["generator"] for name in ("paper", "auto"))
    assert paper["kl_weight"] == 1.0 and paper["kl_predicted"] == 0.0 and 0 < paper["kl_weight_critical"] < 1
    assert 0 < auto["kl_weight"] < auto["kl_weight_critical"] == paper["kl_weight_critical"]
    assert auto["kl_predicted"] > 0 and auto["kl"] > paper["kl"]
    assert auto["reconstruction_predicted"] < paper["reconstruction_predicted"]
    assert "keeps 90%" in log(tmp_path / "auto") and "(measured" in log(tmp_path / "paper")


# ------------------------------------------------------------------------------- the paper's values


def test_an_old_generator_stays_reusable(tiny_bank, tmp_path):
    """Its settings know nothing of the newer keys."""
    assert decisive_keys(ship_options()) == ARCHITECTURE + TRAINING
    assert decisive_keys(ship_options(KL_WEIGHT_RULE="auto", EPISODES=True))[-2:] == ("KL_WEIGHT_RULE", "EPISODES")
    assert decisive_keys(ship_options(BASE_SHARE=0.5, MATCH="mean")) == ARCHITECTURE + TRAINING
    train.main(argv(tiny_bank, tmp_path / "old", "CoOp_SHIP"))
    first = results(tmp_path / "old")
    forget_identity(tmp_path / "old")

    def with_the_old_generator(name, *options):
        """A run in a folder that holds nothing but the generator."""
        shutil.copytree(tmp_path / "old/generator", tmp_path / name / "generator")
        train.main(argv(tiny_bank, tmp_path / name, "CoOp_SHIP", *options))
        return log(tmp_path / name)

    assert "reusing the finished one" in with_the_old_generator("share", "TRAINER.SHIP.BASE_SHARE", "0.25")
    assert results(tmp_path / "share")["extra"]["generator"] == first["extra"]["generator"]
    assert "made under other settings" in with_the_old_generator("episodes", *VARIANTS["episodes"])


def test_the_papers_batch_is_drawn_as_it_was(tiny_bank, tmp_path, monkeypatch):
    """B real rows, then B synthetic ones of new classes by one call: the run is the same with that written out."""
    train.main(argv(tiny_bank, tmp_path / "ours", "CoOp_SHIP", "TRAINER.SHIP.ROWS", "1"))

    def papers(plugin, features, labels):
        made = plugin.synthesizer
        drawn = torch.randint(len(made.classes), labels.shape)
        return torch.cat([features, made.features(drawn)]), torch.cat([labels, drawn + made.first_label])

    monkeypatch.setattr(SHIP, "batches", lambda plugin, loader: loader)
    monkeypatch.setattr(SHIP, "batch", papers)
    monkeypatch.setattr(collapse, "report", lambda *_: {})
    train.main(argv(tiny_bank, tmp_path / "papers", "CoOp_SHIP"))
    assert torch.equal(newest_state(tmp_path / "ours")["ctx"], newest_state(tmp_path / "papers")["ctx"])
    assert results(tmp_path / "ours")["metrics"] == results(tmp_path / "papers")["metrics"]


# ------------------------------------------------------------------------------- shares and means


def test_the_share_of_base_classes(tiny_bank, tmp_path, monkeypatch):
    seen, loss = [], CoOp.compute_loss
    monkeypatch.setattr(CoOp, "compute_loss", lambda *given: (seen.append(given[1:]), loss(*given))[1])
    train.main(argv(tiny_bank, tmp_path, "CoOp_SHIP", *VARIANTS["base share"]))
    for features, labels in seen:
        synthetic = labels[8:]
        assert len(features) == len(labels) == 16 and (synthetic < 4).sum() == 2 and (synthetic >= 4).sum() == 6
    trainer_labels = torch.cat([labels[14:] for _, labels in seen])
    assert (trainer_labels < 4).all() and len(trainer_labels.unique()) > 1


def test_matched_means_by_hand(miniclip_backbone):
    """Of base classes, the synthetic mean plus the shift is the real mean; every feature is moved alike."""
    torch.manual_seed(0)
    found, made = few(900), FeatureGenerator(miniclip_backbone, 6, 12)
    classes, new = ClassTokens(NAMES[:3], miniclip_backbone), ClassTokens(NAMES[3:5], miniclip_backbone)
    shift = mean_difference(made, found, classes, seed=1)
    assert torch.equal(shift, mean_difference(made, found, classes, seed=1))
    made.requires_grad_(False)
    synthetic = made(torch.randn(900, 6), found.labels, classes).mean(0)
    assert torch.allclose(synthetic + shift, found.features.mean(0), atol=0.01) and shift.norm() > 0.1
    z, labels = torch.randn(4, 6), torch.tensor([0, 1, 1, 0])
    assert torch.allclose(Matched(made, shift)(z, labels, new), F.normalize(made(z, labels, new) + shift, dim=-1))


def test_a_target_takes_the_match_of_its_source(tiny_bank, miniclip_backbone, tmp_path):
    target = make_bank(tmp_path / "t.safetensors", miniclip_backbone, names=["forest", "river"], dataset="EuroSAT")
    for name, options in (("with", VARIANTS["match"]), ("without", [])):
        train.main(argv(tiny_bank, tmp_path / name, "CoOp_SHIP", *options, task="fewshot"))

    def transfer(source, out):
        start = ["MODEL.INIT_WEIGHTS", source, "TRAINER.SHIP.INIT_FROM", source, *VARIANTS["match"]]
        arguments = argv(target, out, "CoOp_SHIP", *start, task="cross_dataset")
        arguments[arguments.index("--dataset-config-file") + 1] = str(ROOT / "configs/datasets/eurosat.yaml")
        train.main(arguments)

    transfer(tmp_path / "with", tmp_path / "out")
    shift = results(tmp_path / "out")["extra"]["generator"]["match_shift"]
    assert shift == pytest.approx(results(tmp_path / "with")["extra"]["generator"]["match_shift"]) and shift > 0.01
    with pytest.raises(UserError, match="train the source run with TRAINER.SHIP.MATCH mean"):
        transfer(tmp_path / "without", tmp_path / "fails")


# ------------------------------------------------------------------------------- the bimodal framework


def test_kl_between_gaussians_by_hand():
    """N(1, 1) and N(0, 4) in the first dimension, equal ones in the second; against N(0, I) it is SHIP's."""
    image = torch.tensor([[1.0, 2.0]]), torch.tensor([[0.0, 0.3]])
    text = torch.tensor([[0.0, 2.0]]), torch.tensor([[math.log(4.0), 0.3]])
    assert kl_between(image, text).item() == pytest.approx(0.5 * (math.log(4) + (1 + 1) / 4 - 1))
    standard = torch.zeros(1, 2), torch.zeros(1, 2)
    assert kl_between(image, standard).item() == pytest.approx(kl_to_standard_normal(*image).item())


def test_the_bimodal_loss_by_hand(miniclip_backbone):
    torch.manual_seed(0)
    made = BimodalVAE(FeatureGenerator(miniclip_backbone, 6, 12), miniclip_backbone, 12, kl_weight=0.5)
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    found, classes = few(), ClassTokens(NAMES[:3], miniclip_backbone)
    texts = encode_texts(miniclip_backbone, fill("a photo of a {}.", NAMES[:3])).float()
    torch.manual_seed(1)
    loss, terms = made.loss(found.features, found.labels, classes)
    torch.manual_seed(1)
    image, text = made.encoder(found.features), made.generator.encoder(texts[found.labels])
    errors = []
    for mu, log_var in (image, text):
        z = mu + torch.exp(log_var / 2) * torch.randn(9, 6)
        errors.append((found.features - made.generator.generator(z, found.labels, classes)).square().sum() / 9)
    kl = kl_between(image, text)
    assert loss.item() == pytest.approx((errors[0] + errors[1] + 0.5 * kl).item(), rel=1e-5)
    expected = {"reconstruction": errors[0].item(), "reconstruction_text": errors[1].item(), "kl": kl.item()}
    assert terms == pytest.approx(expected, rel=1e-5)
    noise = torch.randn(9, 6)
    mu, log_var = text
    drawn = made.generator.generator(mu + torch.exp(log_var / 2) * noise, found.labels, classes)
    assert torch.allclose(made.generator(noise, found.labels, classes), drawn, atol=1e-5)
    loss.backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in made.parameters())


# ------------------------------------------------------------------------------- episodes


def test_energy_distance_by_hand():
    """2 (0 + 2 + 1 + 1) / 4 - 1 - 2, and in the mean 0 for samples of one distribution."""
    x, y = torch.tensor([[0.0], [1.0]]), torch.tensor([[0.0], [2.0]])
    assert energy_distance(x, y).item() == pytest.approx(2 * 1.0 - 1 - 2)
    torch.manual_seed(0)
    same = [energy_distance(torch.randn(20, 4), torch.randn(20, 4)).item() for _ in range(200)]
    assert abs(sum(same) / len(same)) < 0.03
    assert energy_distance(torch.randn(50, 4) + 1, torch.randn(50, 4)).item() > 0.3


def test_the_rows_of_a_third_of_the_classes_are_not_reconstructed(miniclip_backbone, monkeypatch):
    torch.manual_seed(0)
    found, classes = few(12), ClassTokens(NAMES[:6], miniclip_backbone)
    labels = torch.arange(12) % 6
    made = EpisodicVAE(FeatureGenerator(miniclip_backbone, 6, 12), miniclip_backbone.embed_dim, 12)
    kept, apart, loss_of = [], [], VAE.loss
    monkeypatch.setattr(VAE, "loss", lambda self, x, y, c: (kept.append((x, y)), loss_of(self, x, y, c))[1])
    monkeypatch.setattr(episodes, "energy_distance", lambda made, x: (apart.append(x), energy_distance(made, x))[1])
    loss, terms = made.loss(found.features, labels, classes)
    ((x, y),), (rest,) = kept, apart
    assert len(y.unique()) == 4 and len(x) == 8 and len(rest) == 4
    assert torch.equal(rest, found.features[[i for i in range(12) if labels[i] not in y]])
    total = terms["reconstruction"] + terms["kl"] + terms["energy"]
    assert loss.item() == pytest.approx(total.item(), rel=1e-5) and set(terms) == {"reconstruction", "kl", "energy"}
    loss.backward()
    assert all(torch.isfinite(p.grad).all() for p in made.parameters())


def test_a_batch_of_one_row_may_be_set_apart(miniclip_backbone):
    classes, made = ClassTokens(NAMES[:3], miniclip_backbone), None
    for seed in range(20):
        torch.manual_seed(seed)
        made = made or EpisodicVAE(FeatureGenerator(miniclip_backbone, 6, 12), miniclip_backbone.embed_dim, 12)
        terms = made.step(few(1).features, torch.tensor([0]), classes, made.optimizers(ship_options()))
        assert all(math.isfinite(value) for value in terms.values())


# ------------------------------------------------------------------------------- as runs


@pytest.mark.parametrize("name", ["auto", "bimodal", "episodes", "match"])
def test_a_variant_resumes_exactly(tiny_bank, tmp_path, monkeypatch, name):
    check_a_killed_run_ends_like_one_left_alone(monkeypatch, tmp_path, tiny_bank, "CoOp_SHIP", *VARIANTS[name])


@pytest.mark.parametrize("name", VARIANTS)
def test_a_variant_is_another_run(tiny_bank, tmp_path, name):
    train.main(argv(tiny_bank, tmp_path / "paper", "CoOp_SHIP"))
    train.main(argv(tiny_bank, tmp_path / "ours", "CoOp_SHIP", *VARIANTS[name]))
    assert {"base", "new", "H", "all"} <= set(results(tmp_path / "ours")["metrics"])
    assert not torch.equal(newest_state(tmp_path / "paper")["ctx"], newest_state(tmp_path / "ours")["ctx"])


@pytest.mark.parametrize(
    "change, words",
    [
        ({"KL_WEIGHT_RULE": "best"}, "KL_WEIGHT_RULE 'best' is unknown; known: fixed, auto"),
        ({"FRAMEWORK": "gan", "KL_WEIGHT_RULE": "auto"}, "a gan has no KL term"),
        ({"FRAMEWORK": "bimodal", "EPISODES": True}, "EPISODES True goes with FRAMEWORK vae alone"),
    ],
)
def test_options_that_contradict_each_other(miniclip_backbone, change, words):
    with pytest.raises(UserError, match=words):
        build_framework(ship_options(**change), miniclip_backbone)


@pytest.mark.parametrize("options", [["TRAINER.SHIP.MATCH", "moments"], ["TRAINER.SHIP.BASE_SHARE", "1.0"]])
def test_values_that_are_none(tiny_bank, tmp_path, options):
    with pytest.raises(UserError, match="MATCH is one of none, mean.*BASE_SHARE is a share from 0 to below 1"):
        train.main(argv(tiny_bank, tmp_path, "CoOp_SHIP", *options))
