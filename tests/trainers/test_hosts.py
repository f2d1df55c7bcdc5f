"""Foreign trainers with SHIP, SAR and GATE, by stand-ins of their shapes (helpers/family.py)."""

import importlib
import runpy

import miniclip
import pytest
import torch
from dassl.config import get_cfg_default
from dassl.data.datasets import DATASET_REGISTRY
from dassl.engine import TRAINER_REGISTRY, build_trainer
from dassl.utils import UserError, set_random_seed
from helpers.coop_checkout import make_checkout
from yacs.config import CfgNode as CN

import trainers as ship
from trainers.coop import CoOpHead
from trainers.core.trainer import FeatureTrainer
from trainers.hosts import adapt

NAMES = ["CoOp", "CoCoOp", "KgCoOp", "MaPLe", "PromptSRC", "TCP"]


@pytest.fixture(scope="module")
def family(tmp_path_factory):
    """{name: foreign trainer}, adapted, in registries of their own; `family.folder` has images of six colours."""
    ship.extend_cfg(get_cfg_default())  # imports ours, while the registry is the true one
    trainers, readers = dict(TRAINER_REGISTRY._obj_map), dict(DATASET_REGISTRY._obj_map)
    TRAINER_REGISTRY._obj_map.clear()
    DATASET_REGISTRY._obj_map.pop("Colours", None)
    folder = make_checkout(tmp_path_factory.mktemp("family"), "ship_trainers")
    runpy.run_path(str(folder / "checkout/datasets/colours.py"))
    module = importlib.import_module("helpers.family")  # registers
    module.folder = folder
    for name in NAMES:
        adapt(getattr(module, name))
    yield module
    for registry, before in ((TRAINER_REGISTRY, trainers), (DATASET_REGISTRY, readers)):
        registry._obj_map.clear()
        registry._obj_map.update(before)


def config(family, out, trainer, *options):
    cfg = get_cfg_default()
    cfg.TRAINER.COOP, cfg.DATASET.SUBSAMPLE_CLASSES = CN({"W": 8.0, "CTX_INIT": ""}), "base"
    ship.extend_cfg(cfg)
    cfg.merge_from_file(str(family.folder / "checkout/config.yaml"))
    places = ["DATASET.ROOT", str(family.folder / "data"), "FEATURES.DIR", str(family.folder / "cache")]
    names = ["OUTPUT_DIR", str(out), "DATASET.NAME", "Colours", "TRAINER.NAME", trainer, "SEED", 1, "VERBOSE", False]
    small = ["FEATURES.VIEWS", 1, "OPTIM.LR", 0.02, "OPTIM.WARMUP_EPOCH", -1, "OPTIM.MAX_EPOCH", 1]
    cfg.merge_from_list([*places, *names, *small, *options])
    cfg.INPUT.PIXEL_MEAN, cfg.INPUT.PIXEL_STD = [*miniclip.PIXEL_MEAN], [*miniclip.PIXEL_STD]
    return cfg


def trained(family, out, trainer, *options):
    """A finished run, with `seen`: (batch, what forward_backward returned) of each step."""
    cfg = config(family, out, trainer, *options)
    set_random_seed(cfg.SEED)
    made = build_trainer(cfg)
    made.seen, step = [], made.forward_backward

    def noting(batch):
        made.seen.append((batch, step(batch)))
        return made.seen[-1][1]

    made.forward_backward = noting
    made.train()
    return made


@pytest.mark.parametrize("name", ["CoOp", "MaPLe"])
def test_with_weight_zero_it_trains_as_the_trainer_itself(family, tmp_path, name):
    alone = trained(family, tmp_path / "alone", name)
    zero = "TRAINER.SHIP.SHARE", 0.0, "TRAINER.SAR.W", 0.0
    hosted = trained(family, tmp_path / "hosted", f"{name}_SHIP_SAR_GATE", *zero)
    assert [found for _, found in alone.seen] == [found for _, found in hosted.seen]
    ends = [trainer.model.state_dict() for trainer in (alone, hosted)]
    assert ends[0].keys() == ends[1].keys() and all(torch.equal(ends[0][key], ends[1][key]) for key in ends[0])


def test_a_hosted_coop_has_the_loss_of_our_own(family, tmp_path, miniclip_backbone):
    """In every step: CoOp_SHIP's head over the same batches, trained by its loss with torch's SGD."""
    hosted = trained(family, tmp_path, "CoOp_SHIP", "OPTIM.LR_SCHEDULER", "single_step")
    names = hosted.guests.head_classnames()
    assert len(names) == 6 and len(hosted.seen) == 3
    with torch.no_grad():
        words = miniclip_backbone.token_embedding(hosted.model.tokenized_prompts[:1])[0, 1:5]
    head = CoOpHead(miniclip_backbone, names, words)
    sgd = torch.optim.SGD([head.ctx], 0.02, momentum=0.9, weight_decay=5e-4)
    own = object.__new__(FeatureTrainer)
    own.head = head
    for batch, found in hosted.seen:
        features = torch.cat([miniclip_backbone.encode_image(batch["img"]), batch["synthetic"]])
        loss, _ = own.compute_loss(features, torch.cat([batch["label"], batch["synthetic_label"]]))
        assert (found["loss"] + found["synthetic"]) / 2 == pytest.approx(loss.item(), abs=1e-5)
        sgd.zero_grad()
        loss.backward()
        sgd.step()
    assert torch.allclose(head.ctx, hosted.model.prompt_learner.ctx, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_every_shape_trains_and_its_checkpoint_is_the_trainers_own(family, tmp_path, name, capsys):
    hosted = trained(family, tmp_path, f"{name}_SHIP" if name == "CoCoOp" else f"{name}_SHIP_SAR")
    terms = {"loss", "synthetic"} | ({"sar"} if name != "CoCoOp" else set())
    assert set(hosted.seen[0][1]) == terms and hosted.model_inference(torch.rand(2, 3, 224, 224)).shape == (2, 3)
    text_side = dict(hosted.model.prompt_learner.named_parameters())
    image_side = [value for key, value in text_side.items() if "proj" in key]
    loss, _ = hosted.guests.loss()
    found = torch.autograd.grad(loss, [text_side["ctx"], *image_side], allow_unused=True)
    assert found[0].any() and not any(gradient is not None for gradient in found[1:])
    stock = build_trainer(config(family, "", name, "DATASET.SUBSAMPLE_CLASSES", "new"))
    stock.load_model(str(tmp_path))
    assert torch.equal(stock.model.prompt_learner.ctx, hosted.model.prompt_learner.ctx)


def test_the_gate_routes_a_hosts_logits(family, tmp_path):
    trained(family, tmp_path, "MaPLe_GATE")
    everything = config(family, "", "MaPLe_GATE", "DATASET.SUBSAMPLE_CLASSES", "all")
    hosted = build_trainer(everything)
    hosted.load_model(str(tmp_path))
    hosted.set_model_mode("eval")
    images = torch.rand(3, 3, 224, 224)
    with torch.no_grad():
        found, plain = hosted.model_inference(images), hosted.model(images)
    base = torch.tensor([name in ("black", "blue", "green") for name in hosted.dm.dataset.classnames])
    assert base.sum() == 3
    for side in (base, ~base):  # within a side nothing changes
        assert torch.allclose(found[:, side].log_softmax(1), plain[:, side].log_softmax(1), atol=1e-4)
    margins = [logits[:, ~base].amax(1) - logits[:, base].amax(1) for logits in (found, plain)]
    assert not torch.allclose(*margins, atol=0.1)


def test_what_cannot_be_is_said(family, tmp_path):
    class Novel(family.CoOp):
        pass

    with pytest.raises(UserError, match="needs text_features, image_features and logit_scale, or like= one of CoOp"):
        adapt(Novel)
    TRAINER_REGISTRY.register()(Novel)
    for asked in (ship.register_ship, ship.register_twins):
        with pytest.raises(UserError, match=r"Novel cannot have SHIP: .* adapt\(Novel\)"):
            asked(Novel)
    assert "adapt(Novel)" in ship.explain("Novel_SHIP")

    adapt(Novel, text_features=lambda model, features: model.texts().flip(0), like="CoOp")
    with pytest.raises(UserError, match="logits are not the scaled cosines"):
        trained(family, tmp_path / "a", "Novel_SHIP")
    with pytest.raises(UserError, match="no class has only a name"):
        trained(family, tmp_path / "b", "CoOp_SHIP", "DATASET.SUBSAMPLE_CLASSES", "all")
    with pytest.raises(UserError, match="CoCoOp_SAR cannot have SAR"):
        trained(family, tmp_path / "c", "CoCoOp_SAR")
    with pytest.raises(UserError, match="encodes its own class names alone"):
        trained(family, tmp_path / "d", "CoOp_SAR", "TRAINER.SAR.NAMES", "./names.txt")
