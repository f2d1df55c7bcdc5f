"""What is special about methods that tune the image tower: images instead of features, and what they refuse."""

import pytest
import torch
from dassl.utils import load_checkpoint
from helpers.miniatures import COOP, coop_split
from helpers.random_clip import write_archive
from helpers.rehearsal import command, small
from helpers.trees import add_coop_split
from runs import results
from tiny_data import accuracy

import train
from trainers import open_run
from trainers.core import metrics
from trainers.core.files import UserError


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """EuroSAT in miniature, and a random CLIP beside it."""
    root = tmp_path_factory.mktemp("data")
    folder, images, end, path, names = COOP["eurosat"]
    add_coop_split(root, folder, images, f"split_zhou_{end}.json", coop_split(path, names))
    write_archive(root / "clip.pt")
    return root


def argv(data, out, trainer, *options):
    backbone = ["MODEL.BACKBONE.NAME", data / "clip.pt", "OPTIM.MAX_EPOCH", 2, "OPTIM.WARMUP_EPOCH", -1]
    options = [*small(out.parent / "features"), *backbone, *options]
    return command(data, out, f"{trainer}/vit_b16", "eurosat", *options)


def test_images_are_evaluated_through_the_tuned_tower_as_it_then_is(data, tmp_path):
    """The run's metrics, and those by which the best epoch is chosen, are those of its head on features which the head
    itself makes of the images."""
    train.main(argv(data, tmp_path / "run", "MaPLe", "TEST.FINAL_MODEL", "best_val", "OPTIM.LR", 0.2))
    trainer = open_run(str(tmp_path / "run"), options=["TASK", "base2new", "DATASET.SUBSAMPLE_CLASSES", "base"])
    trainer.open_data(training=False)
    found, _, _ = metrics.evaluate(trainer)
    assert found == pytest.approx(results(tmp_path / "run")["metrics"])
    chosen, images = load_checkpoint(tmp_path / "run/head/model-best.pth.tar"), trainer.data.val_set
    predicted = trainer.logits(trainer.head, images.first()).argmax(1)
    assert accuracy(predicted, images.labels) == pytest.approx(chosen["val_result"])
    tuned = trainer.data.plain(trainer.dataset.test).first()
    trainer.data.encode_with(trainer.encode_frozen)
    frozen = trainer.data.plain(trainer.dataset.test).first()
    assert (tuned - frozen).norm() > 0.1 * frozen.norm()  # training did move the tower
    assert metrics.evaluate(trainer)[0] != pytest.approx(found)


def test_what_it_cannot_do_is_refused(data, tmp_path):
    for option, value, message in (
        ("FEATURES.BANK", "x.safetensors", "tunes the image tower: it needs images.* --root FOLDER"),
        ("FEATURES.VIEWS", "4", "tunes the image tower: it needs images.* FEATURES.VIEWS 0"),
        ("MODEL.BACKBONE.NAME", "MiniCLIP", "need a ViT, .*that of MiniCLIP is a ConSE"),
        ("TRAINER.MAPLE.PROMPT_DEPTH", "9", "PROMPT_DEPTH .*9.* 2( blocks|$)"),
    ):
        with pytest.raises(UserError, match=message):
            train.main([*argv(data, tmp_path / "out", "MaPLe"), option, value, "TEST.NO_TEST", "True"])


def test_synthetic_rows_train_the_text_side_alone(data, tmp_path):
    """A step on synthetic rows alone leaves what only images move without a gradient."""
    for name, images_only in {"MaPLe": "compound_prompt_projections", "PromptSRC": "image", "MMRL": "proj_rep"}.items():
        trainer = train.build_trainer(train.setup_cfg(train.parse_args(argv(data, tmp_path, name))))
        trainer.open_data(training=True)
        trainer.set_head(trainer.build_head(["river", "forest"]), ["river", "forest"])
        dim = trainer.backbone.embed_dim
        trainer.batch = {"features": torch.randn(4, dim), "label": torch.tensor([0, 1, 0, 1])}
        loss, _ = trainer.compute_loss(*trainer.features_of(trainer.batch))
        loss.backward()
        moved = {name for name, value in trainer.head.named_parameters() if value.grad is not None}
        still = {name for name, _ in trainer.head.named_parameters() if name.startswith(images_only)}
        assert still and moved and not still & {name for name in moved if trainer.head.get_parameter(name).grad.any()}


def test_a_gate_judges_by_the_class_feature(data, tmp_path):
    """MMRL's images have two features. Base, new and the class within a side are the method's; the joint decision is
    half the judge's."""
    plain, gated = (tmp_path / name for name in ("MMRL", "MMRL_GATE"))
    for out in (plain, gated):
        train.main(argv(data, out, out.name, "OPTIM.LR", 0.01))
    of_plain, of_gated = (results(out)["metrics"] for out in (plain, gated))
    assert [of_gated[side] for side in ("base", "new")] == [of_plain[side] for side in ("base", "new")]
    trainer = open_run(str(gated))
    trainer.open_data(training=False)
    features = trainer.data.plain(trainer.dataset.test).first()
    base, new = trainer.task.real_classnames(), trainer.new_classnames()
    heads = [trainer.head_for(names) for names in ([*base, *new], base, new)]
    together, of_base, of_new = (trainer.logits(head, features) for head in heads)
    assert torch.equal(together[:, : len(base)].argmax(1), of_base.argmax(1))
    assert torch.equal(together[:, len(base) :].argmax(1), of_new.argmax(1))
    gap = of_new.amax(1) - of_base.amax(1)
    assert not torch.allclose(together[:, len(base) :].amax(1), gap)  # the judge takes part
