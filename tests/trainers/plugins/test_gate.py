"""GATE: its formulas against numbers and brute force, and through the command line on the tiny bank."""

import json
import shutil

import pytest
import torch
import torch.nn.functional as F
from dassl.utils import UserError
from plain import hand_written, unit
from runs import argv as command
from runs import evaluate as evaluate_run
from runs import log, results, same_state
from safetensors import safe_open
from tiny_data import NAMES, accuracy, features_of, make_bank, poison
from torch import nn

import train
from trainers import open_run, run_config
from trainers.core import separation
from trainers.core.bank import read_bank
from trainers.core.gaussian import sums_of
from trainers.plugins import gate

BASE, NEW = NAMES[:4], NAMES[4:]


# ---- formulas


SOFT = ["TRAINER.GATE.SOFTNESS", "1.0", "TRAINER.GATE.OBJECTIVE", "h"]


def argv(bank, out, trainer, *options, **rest):
    """With a soft decision, of which a probability says more than of the step that the configuration has."""
    return command(bank, out, trainer, *SOFT, *options, **rest)


def test_golden_score():
    x, q = torch.tensor([[0.6, 0.8]]), torch.tensor([[0.0, 1.0]])
    assert gate.gate_score(x, torch.tensor([[1.0, 0.0]]), q, 2.0).item() == pytest.approx(-0.4)
    two = torch.tensor([[1.0, 0.0], [0.8, 0.6]])
    assert gate.gate_score(x, two, q, 2.0).item() == pytest.approx(0.7165941)


def test_golden_routing():
    shares = separation.log_shares(torch.tensor([1.0]).double(), 0.5, 1.0)
    assert shares[0].exp().item() == pytest.approx(0.6224593312, abs=1e-10)
    base, new = torch.tensor([[2.0, 0.0]]).double(), torch.tensor([[1.0]]).double()
    found = separation.route(base, new, shares, torch.tensor([True, True, False]))
    assert found[0].tolist() == pytest.approx([-0.6010049952, -2.6010049952, -0.9740769842], abs=1e-10)
    assert found.exp().sum().item() == pytest.approx(1, abs=1e-12)


class Linear(nn.Module):
    """A head of fixed random logits."""

    def __init__(self, classes, seed):
        super().__init__()
        self.weight = torch.randn(8, classes, generator=torch.Generator().manual_seed(seed))

    def forward(self, features):
        return features @ self.weight


@pytest.mark.parametrize("softness", [0.0, 0.7])
def test_routed_probabilities(softness):
    """They sum to 1, stand in the caller's order, and are what the formula says, name by name."""
    names, known = ["cat", "owl", "missile", "missile", "dog"], ["dog", "missile", "cat"]
    is_base = separation.which_are_base(names, known)
    assert is_base.tolist() == [True, False, True, False, True]  # of two missiles the first is the base one
    features = torch.randn(20, 8, generator=torch.Generator().manual_seed(0))
    base, new = Linear(3, 1), Linear(2, 2)
    head = separation.RoutedHead(base, new, is_base, lambda x: x[:, 0], 0.1, softness)
    p = head(features).exp()
    assert torch.allclose(p.sum(1), torch.ones(20), atol=1e-6)
    pi = head.base_share(features)
    b, n = base(features).softmax(1), new(features).softmax(1)
    for column, (side, row) in enumerate([(b, 0), (n, 0), (b, 1), (n, 1), (b, 2)]):
        share = pi if side is b else 1 - pi
        assert torch.allclose(p[:, column], share * side[:, row], atol=1e-6)
    if softness == 0:
        assert torch.equal(is_base[head(features).argmax(1)], features[:, 0] >= 0.1)
        assert set(pi.tolist()) == {0.0, 1.0}


@pytest.mark.parametrize("softness, objective", [(0.0, "h"), (1.3, "h"), (0.0, "accuracy")])
def test_eta_is_the_best_by_brute_force(softness, objective):
    """Routing every image anew for each of many etas never does better, and does as said at the chosen one."""
    draw = torch.Generator().manual_seed(3)
    text = F.normalize(torch.randn(6, 8, generator=draw), dim=1)
    labels = torch.arange(6).repeat(10)
    features = F.normalize(text[labels] + torch.randn(60, 8, generator=draw) * 0.4 + 0.2, dim=1)
    prototypes = F.normalize(text + 0.25, dim=1)
    mask = torch.tensor([False, True, False, False, True, False])
    row = gate.critical_etas(features @ prototypes.t(), features, labels, mask, prototypes, text, 9.0, softness)
    eta, reached = gate.best_eta(*row, objective)

    old, new = ~mask, mask
    queries = F.normalize(text[new] + prototypes[old].mean(0) - text[old].mean(0), dim=1)
    base_logits, new_logits = 9 * features @ prototypes[old].t(), 9 * features @ queries.t()
    score = gate.gate_score(features, prototypes[old], queries, 9.0)

    def objective_at(eta):
        shares = separation.log_shares(score, eta + torch.tensor(4 / 2).log(), softness)
        right = separation.route(base_logits, new_logits, shares, old).argmax(1) == labels
        a, b = right[old[labels]].double().mean().item(), right[new[labels]].double().mean().item()
        return 100 * (2 * a * b / (a + b) if objective == "h" else right.double().mean().item())

    grid = [objective_at(value) for value in torch.linspace(-8, 8, 801).tolist()]
    assert reached == pytest.approx(objective_at(eta)) and reached >= max(grid) - 1e-9
    assert min(grid) < reached - 10  # it could have been worse


@pytest.mark.parametrize("count, share, size", [(50, 0.3, 15), (4, 0.43, 2), (2, 0.01, 1), (3, 0.99, 2)])
def test_folds(count, share, size):
    masks = gate.folds(count, share, torch.Generator().manual_seed(0))
    assert len(masks) == 8 and all(mask.sum() == size for mask in masks)
    turns = torch.stack(masks).sum(0)
    assert turns.max() - turns.min() <= 8 // min(count, 8) + 1
    again = gate.folds(count, share, torch.Generator().manual_seed(0))
    assert all(torch.equal(one, other) for one, other in zip(masks, again))


def test_an_image_is_taken_out_of_its_own_prototype():
    features = F.normalize(torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [-1.0, 0.0]]), dim=1)
    labels = torch.tensor([0, 0, 0, 1])
    sums = sums_of(features, labels, 2)
    prototypes = F.normalize(sums, dim=1)
    found = separation.cosines(features, labels, sums, prototypes, own=True)
    rest = F.normalize(features[1] + features[2], dim=0)
    assert found[0, 0].item() == pytest.approx((features[0] @ rest).item())
    assert found[3, 1].item() == 0  # nothing is left of a class of one image
    assert torch.allclose(found[:3, 1], features[:3] @ prototypes[1])


# ---- the command line


@pytest.fixture(scope="module")
def bank(tmp_path_factory, miniclip_backbone):
    """Noisy enough that separation is no triviality."""
    path = tmp_path_factory.mktemp("bank") / "noisy.safetensors"
    return make_bank(path, miniclip_backbone, noise=4.0, train=8, val=6, test=12)


@pytest.fixture(scope="module")
def run(bank, tmp_path_factory):
    out = tmp_path_factory.mktemp("run") / "base2new/caltech101/shots_4/CoOp_GATE/miniclip/seed1"
    train.main(argv(bank, out, "CoOp_GATE"))
    return out


def gate_file(out):
    with safe_open(out / gate.FILE, framework="pt") as file:
        return json.loads(file.metadata()["settings"]), {name: file.get_tensor(name) for name in file.keys()}


def plain_joint(miniclip_backbone, bank, out):
    """Accuracy among all names and AUROC, from the file, the bank and the head, by the formulas."""
    (x, labels), (tensors, header) = features_of(bank), read_bank(bank)
    settings, _ = gate_file(out)
    rows, split = tensors["train.features"].float(), json.loads(header["split"])["train"]
    owner = torch.repeat_interleave(torch.arange(len(split)), tensors["train.offsets"].diff())
    drawn = {item.impath for item in drawn_items(out)}
    means = {}
    for i, (path, label, _) in enumerate(split):
        if path in drawn:
            means.setdefault(label, []).append(F.normalize(rows[owner == i].mean(0), dim=0))
    p = torch.stack([F.normalize(torch.stack(means[label]).mean(0), dim=0) for label in range(4)])
    text = hand_written(miniclip_backbone, NAMES)
    q = F.normalize(text[4:] + p.mean(0) - text[:4].mean(0), dim=1)
    kappa = miniclip_backbone.logit_scale.exp().item()
    g = (kappa * x @ p.t()).exp().sum(1).log() - (kappa * x @ q.t()).exp().sum(1).log()
    pi = torch.sigmoid(g - settings["eta"] - torch.tensor(4 / 3).log())
    head = open_run(str(out)).head.eval()
    with torch.no_grad():
        base, new = head.for_classes(BASE)(x).softmax(1), head.for_classes(NEW)(x).softmax(1)
    joint = torch.cat([pi[:, None] * base, (1 - pi)[:, None] * new], 1)
    pairs = (g[labels < 4][:, None] > g[labels >= 4]).double().mean().item()
    return accuracy(joint.argmax(1), labels), pairs


def drawn_items(out):
    trainer = train.build_trainer(run_config(str(out), ["OUTPUT_DIR", ""]))
    train.set_random_seed(1)
    trainer.open_data(training=True)
    return trainer.dataset.train_x


def test_only_joint_figures_move(run, bank, tmp_path, miniclip_backbone):
    train.main(argv(bank, tmp_path, "CoOp"))
    plain, gated = results(tmp_path)["metrics"], results(run)["metrics"]
    assert all(plain[name] == gated[name] for name in ("base", "new", "H")) and plain["all"] != gated["all"]
    assert same_state(run, tmp_path)
    joint, separable = plain_joint(miniclip_backbone, bank, run)
    found = results(run)
    assert gated["all"] == pytest.approx(joint)
    assert found["extra"]["gate"]["auroc"] == pytest.approx(separable, abs=1e-6)
    assert found["extra"]["gate"]["reconstruction"] and found["plugins"] == ["GATE"]
    assert "gate's eta (leave_classes_out) on few-shot validation of base classes" in found["selection"]


def test_evaluation_alone_and_the_opened_run_decide_alike(run, bank, tmp_path):
    metrics = results(run)["metrics"]
    for subset in ("base", "new", "all"):
        again = evaluate_run(run, bank, tmp_path / subset, "CoOp_GATE", *SOFT, subset=subset)
        assert again["metrics"]["accuracy"] == pytest.approx(metrics[subset])
    trainer, (x, _) = open_run(str(run)), features_of(bank)
    p = trainer.logits(trainer.head_for(NAMES), x).exp()
    assert torch.allclose(p.sum(1), torch.ones(len(x)), atol=1e-5)
    assert torch.allclose(trainer.logits(trainer.head_for(NAMES[::-1]), x).exp(), p.flip(1), atol=1e-5)
    assert torch.allclose(trainer.head_for(NAMES).base_share(x), p[:, :4].sum(1), atol=1e-5)
    assert not hasattr(trainer.head_for(BASE), "base_share")


def test_new_names_that_a_base_class_has_too_stay_new(run):
    trainer = open_run(str(run))
    (plugin,) = trainer.plugins
    plugin.settings["new"] = ["cat", "pizza"]
    assert not plugin.split(["cat", "pizza"]).any()
    assert plugin.split(["cat", "dog", "cat", "pizza"]).tolist() == [True, True, False, False]


def test_without_its_file_or_with_a_damaged_one_the_run_is_refused(run, tmp_path):
    copy = shutil.copytree(run, tmp_path / "copy")
    (copy / gate.FILE).write_bytes((copy / gate.FILE).read_bytes()[:40])
    with pytest.raises(UserError, match="gate.safetensors is damaged"):
        open_run(str(copy))
    bad = bytearray((run / gate.FILE).read_bytes())
    bad[-3] ^= 1  # of the last tensor
    (copy / gate.FILE).write_bytes(bad)
    with pytest.raises(UserError, match="gate.safetensors is damaged"):
        open_run(str(copy))
    (copy / gate.FILE).unlink()
    with pytest.raises(UserError, match="finished run of a trainer with GATE"):
        open_run(str(copy))


def test_no_image_of_a_new_class_is_read_before_evaluation(bank, run, tmp_path):
    """Not even their test images: everything that GATE keeps is the same where these are not numbers."""
    poisoned = poison(bank, tmp_path / "poisoned.safetensors", lambda part, label: label >= 4)
    train.main(argv(poisoned, tmp_path / "out", "CoOp_GATE", "TEST.NO_TEST", "True"))
    (settings, tensors), (others, theirs) = gate_file(run), gate_file(tmp_path / "out")
    assert settings == others and all(torch.equal(tensors[name], theirs[name]) for name in tensors)
    assert settings["base"] == BASE and settings["new"] == NEW


def test_where_all_classes_are_trained_it_does_nothing_and_says_so(bank, tmp_path):
    train.main(argv(bank, tmp_path / "run", "CoOp_GATE", "OPTIM.MAX_EPOCH", "1", task="fewshot"))
    assert f"GATE: {gate.ALL_BASE}" in log(tmp_path / "run")
    assert results(tmp_path / "run")["extra"]["gate"] == {"idle": gate.ALL_BASE}
    again = evaluate_run(tmp_path / "run", bank, tmp_path / "again", "CoOp_GATE", *SOFT, subset="all", task="fewshot")
    assert again["metrics"]["accuracy"] == results(tmp_path / "run")["metrics"]["accuracy"]


def test_the_rule_quantile_keeps_its_share(bank, tmp_path, miniclip_backbone):
    options = ["TRAINER.GATE.RULE", "quantile", "TRAINER.GATE.KEEP", "0.75", "TRAINER.GATE.SOFTNESS", "0"]
    train.main(argv(bank, tmp_path, "ZeroshotCLIP_GATE", *options))
    trainer = open_run(str(tmp_path), options=["FEATURES.BANK", str(bank)])
    trainer.open_data(training=True)
    images = trainer.data.val_set.first()
    head = trainer.head_for(NAMES)
    assert head.base_share(images).sum().item() == pytest.approx(0.75 * len(images), abs=1)
    assert "75% of them count as base" in log(tmp_path)


def test_zero_shot_as_the_expert_for_new_names(bank, tmp_path):
    options = ["TRAINER.GATE.NEW_EXPERT", "zero_shot", "OPTIM.MAX_EPOCH", "1"]
    train.main(argv(bank, tmp_path / "gate", "CoOp_GATE", *options, "OPTIM.LR", "0.2"))
    train.main(argv(bank, tmp_path / "zero", "ZeroshotCLIP"))
    assert results(tmp_path / "gate")["metrics"]["new"] == results(tmp_path / "zero")["metrics"]["new"]


def test_a_method_that_has_no_column_for_new_names(bank, tmp_path):
    """Tip-Adapter's cache knows base names alone; with zero-shot CLIP for the new ones it answers among all."""
    train.main(argv(bank, tmp_path, "Tip_Adapter_F_GATE", "TRAINER.GATE.NEW_EXPERT", "zero_shot"))
    assert {"base", "new", "H", "all"} <= results(tmp_path)["metrics"].keys()
    trainer = open_run(str(tmp_path))
    (plugin,) = trainer.plugins
    x = unit(5, trainer.backbone.embed_dim)
    routed = trainer.logits(plugin.head_for(None, NAMES), x)
    assert torch.allclose(routed[:, :4].softmax(1), trainer.logits(trainer.head_for(BASE), x).softmax(1), atol=1e-5)


def test_without_validation_images_it_chooses_on_the_training_images(tmp_path, miniclip_backbone):
    """As in the Proposed Splits: all images of the seen classes are trained on."""
    path = make_bank(tmp_path / "bank.safetensors", miniclip_backbone, train=5, val=0, test=6, noise=4.0)
    train.main(argv(path, tmp_path, "CoOp_GATE", "DATASET.NUM_SHOTS", "-1", task="gzsl"))
    found = results(tmp_path)
    assert "training images, each taken out of its prototype" in found["selection"]
    assert found["extra"]["gate"]["images"] == 20 and set(found["metrics"]) >= {"seen", "unseen", "H"}
