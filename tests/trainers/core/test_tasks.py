"""Cross-dataset transfer, domain generalization and generalized zero-shot learning through the real command line, on
tiny banks and images."""

import json

import pytest
import torch
from dassl.engine import build_trainer
from dassl.utils import UserError
from PIL import Image
from runs import ROOT, argv, log, newest_state, results, train_killed_before_epoch
from tiny_data import NAMES, make_bank, make_split, poison

import train
from trainers.core.metrics import top1

TARGET = ["forest", "river", "highway"]
SEEN, UNSEEN = NAMES[:5], NAMES[5:]
GZSL = {"seen", "unseen", "H", "crossed_seen", "crossed_unseen"}


def command(bank, out, trainer, task, dataset, *options):
    """As runs.argv, for any dataset."""
    arguments = argv(bank, out, trainer, *options, task=task)
    arguments[arguments.index("--dataset-config-file") + 1] = str(ROOT / f"configs/datasets/{dataset}.yaml")
    return arguments


def plain_accuracy(backbone, bank, logits_of, names, part="test", per_class=False):
    """Accuracy in percent of the bank's images of `part` over `names`, class by class in plain Python."""
    from trainers.core.bank import read_bank

    tensors, header = read_bank(bank)
    labels = [item[1] for item in json.loads(header["split"])[part]]
    found = logits_of(tensors[f"{part}.features"].float()).argmax(1).tolist()
    right = {}
    for label, prediction in zip(labels, found, strict=True):
        right.setdefault(label, []).append(label == prediction)
    if per_class:
        return {label: 100 * sum(hits) / len(hits) for label, hits in right.items()}
    return 100 * sum(map(sum, right.values())) / len(labels)


def coop_logits(backbone, ctx, names):
    """CoOp's logits from the formula: the backbone's own 77-token path."""
    from tiny_clip import coop_prompts

    prompts, eot = coop_prompts(backbone, names, ctx, "end")
    text = torch.nn.functional.normalize(backbone.encode_prompts_plain(prompts, eot), dim=-1)
    return lambda features: backbone.logit_scale.exp() * features @ text.t()


# ------------------------------------------------------------------------------- the metric


def test_per_class_accuracy_by_hand():
    """Class 0: 3 of 4 images, class 2: 1 of 1, class 5: 0 of 2. Mean of the classes 58.3, of the images 57.1; class 1
    has no image."""
    labels, predicted = torch.tensor([0, 0, 0, 0, 2, 5, 5]), torch.tensor([0, 0, 0, 1, 2, 0, 2])
    assert top1(predicted, labels, per_class=True) == pytest.approx(100 * (0.75 + 1 + 0) / 3)
    assert top1(predicted, labels) == pytest.approx(100 * 4 / 7)


# ------------------------------------------------------------------------------- cross-dataset transfer


@pytest.fixture(scope="module")
def target_bank(tmp_path_factory, miniclip_backbone):
    """A target whose training and validation features cannot be used."""
    folder = tmp_path_factory.mktemp("target")
    bank = make_bank(
        folder / "whole.safetensors", miniclip_backbone, names=TARGET, dataset="EuroSAT", test=7, noise=6.0
    )
    return poison(bank, folder / "target.safetensors", lambda part, label: part != "test")


@pytest.fixture(scope="module")
def source(tmp_path_factory, tiny_bank):
    """A source run of CoOp_SHIP on all classes."""
    out = tmp_path_factory.mktemp("source") / "fewshot/caltech101/shots_4/CoOp_SHIP/miniclip/seed1"
    train.main(argv(tiny_bank, out, "CoOp_SHIP", "OPTIM.LR", "0.2", task="fewshot"))
    return out


def test_a_source_run_of_a_twin_is_the_plain_method_and_a_generator(source, tiny_bank, tmp_path):
    train.main(argv(tiny_bank, tmp_path, "CoOp", "OPTIM.LR", "0.2", task="fewshot"))
    assert torch.equal(newest_state(source)["ctx"], newest_state(tmp_path)["ctx"])
    assert results(source)["metrics"] == results(tmp_path)["metrics"] and "source" not in results(source)
    assert (source / "generator/generator.pth.tar").exists() and not (tmp_path / "generator").exists()
    assert (
        "no label-only classes" in log(source)
        and "real features alone" in results(source)["extra"]["remarks"]["accuracy"]
    )


def test_plain_methods_apply_the_source_to_the_target(source, target_bank, miniclip_backbone, tmp_path):
    out = tmp_path / "cross_dataset/eurosat/shots_4/CoOp/miniclip-from_caltech101/seed1"
    train.main(command(target_bank, out, "CoOp", "cross_dataset", "eurosat", "MODEL.INIT_WEIGHTS", str(source)))
    found = results(out)
    logits = coop_logits(miniclip_backbone, newest_state(source)["ctx"], TARGET)
    assert found["metrics"] == {
        "accuracy": pytest.approx(plain_accuracy(miniclip_backbone, target_bank, logits, TARGET))
    }
    assert (found["source"], found["dataset"], found["shots"], found["task"]) == (
        "caltech101",
        "eurosat",
        4,
        "cross_dataset",
    )
    assert found["selection"] == "source run: last epoch"
    assert torch.equal(newest_state(out)["ctx"], newest_state(source)["ctx"])


def test_zero_shot_needs_no_source(target_bank, tmp_path):
    train.main(command(target_bank, tmp_path, "ZeroshotCLIP", "cross_dataset", "eurosat"))
    assert set(results(tmp_path)["metrics"]) == {"accuracy"} and "source" not in results(tmp_path)


def test_ship_fine_tunes_the_sources_context_on_synthetic_features_of_the_targets_names(
    source, target_bank, tmp_path, monkeypatch
):
    from trainers.core.trainer import FeatureTrainer

    seen, compute_loss, before_epoch = [], FeatureTrainer.compute_loss, FeatureTrainer.before_epoch
    starts = []
    monkeypatch.setattr(
        FeatureTrainer,
        "compute_loss",
        lambda t, x, y: (seen.append((t, x.clone(), y.clone())), compute_loss(t, x, y))[1],
    )
    monkeypatch.setattr(
        FeatureTrainer, "before_epoch", lambda t: (starts.append(t.head.ctx.detach().clone()), before_epoch(t))[1]
    )
    start = ["MODEL.INIT_WEIGHTS", str(source), "TRAINER.SHIP.INIT_FROM", str(source), "OPTIM.LR", "0.2"]
    train.main(
        command(target_bank, tmp_path, "CoOp_SHIP", "cross_dataset", "eurosat", *start, "DATASET.NUM_SHOTS", "7")
    )
    found = results(tmp_path)
    assert found["source"] == "caltech101" and found["shots"] == 4 and set(found["metrics"]) == {"accuracy"}
    assert torch.equal(starts[0], newest_state(source)["ctx"]) and not torch.equal(
        newest_state(tmp_path)["ctx"], starts[0]
    )
    trainer = seen[0][0]
    assert trainer.trained_classnames == TARGET
    saved = torch.load(source / "generator/generator.pth.tar", weights_only=True)["state_dict"]
    assert all(
        torch.equal(value, saved[f"generator.{name}"])
        for name, value in trainer.plugins[0].synthesizer.generator.state_dict().items()
    )
    assert len(seen) == 3 * (len(TARGET) * 7 // 8)  # epochs x batches of 8 out of 7 features a class
    assert all(features.shape == (8, 256) and features.isfinite().all() for _, features, _ in seen)
    assert {int(label) for _, _, labels in seen for label in labels} == set(range(len(TARGET)))


def test_a_killed_transfer_ends_like_one_left_alone(source, target_bank, tmp_path, monkeypatch):
    start = ["MODEL.INIT_WEIGHTS", str(source), "TRAINER.SHIP.INIT_FROM", str(source)]
    for name in ("whole", "cut"):
        arguments = command(target_bank, tmp_path / name, "CoOp_SHIP", "cross_dataset", "eurosat", *start)
        if name == "cut":
            train_killed_before_epoch(monkeypatch, 1, arguments)
        train.main(arguments)
    assert "resumed" in log(tmp_path / "cut")
    assert torch.equal(newest_state(tmp_path / "whole")["ctx"], newest_state(tmp_path / "cut")["ctx"])


def test_the_targets_training_images_may_be_unreadable(source, tmp_path):
    """Images instead of a bank: those of the training and validation set hold no image."""
    split = make_split(TARGET, train=2, val=1, test=2)
    folder = tmp_path / "data/eurosat"
    for part, items in split.items():
        for path, label, _ in items:
            file = folder / "2750" / path
            file.parent.mkdir(parents=True, exist_ok=True)
            if part == "test":
                Image.new("RGB", (64, 64), (80 * label, 40, 200)).save(file)
            else:
                file.write_bytes(b"no image")
    (folder / "split_zhou_EuroSAT.json").write_text(json.dumps(split))
    options = [
        "MODEL.INIT_WEIGHTS",
        str(source),
        "TRAINER.SHIP.INIT_FROM",
        str(source),
        "FEATURES.DIR",
        str(tmp_path / "cache"),
    ]
    arguments = command(
        "", tmp_path / "out", "CoOp_SHIP", "cross_dataset", "eurosat", *options, "DATALOADER.NUM_WORKERS", "0"
    )
    train.main(["--root", str(tmp_path / "data"), *arguments])
    assert set(results(tmp_path / "out")["metrics"]) == {"accuracy"}
    assert not (folder / "split_fewshot").exists()  # no few-shot selection of a target is drawn


@pytest.mark.parametrize(
    "trainer, options, words",
    [
        ("CoOp", {}, ["cross_dataset", "MODEL.INIT_WEIGHTS"]),
        ("CoOp", {"MODEL.INIT_WEIGHTS": "nowhere"}, ["MODEL.INIT_WEIGHTS", "nowhere"]),
        ("CoOp_SHIP", {"MODEL.INIT_WEIGHTS": "source"}, ["cross_dataset", "TRAINER.SHIP.INIT_FROM"]),
        ("Tip_Adapter_F", {"TRAINER.TIP_ADAPTER.SEARCH": "False"}, ["no training images", "MODEL.INIT_WEIGHTS"]),
        ("f_VAEGAN", {}, ["no training images", "TASK gzsl"]),
    ],
)
def test_a_transfer_without_its_source_says_what_is_missing(source, target_bank, tmp_path, trainer, options, words):
    given = [item for key, value in options.items() for item in (key, str(source) if value == "source" else value)]
    with pytest.raises(UserError) as error:
        train.main(command(target_bank, tmp_path, trainer, "cross_dataset", "eurosat", *given))
    assert all(word in str(error.value) for word in words), str(error.value)


def test_a_source_that_knows_only_its_own_classes_is_refused(tiny_bank, target_bank, tmp_path):
    own = ["TRAINER.COOP.CSC", "True", "TRAINER.COOP.CTX_INIT", "", "TRAINER.COOP.N_CTX", "2"]
    train.main(argv(tiny_bank, tmp_path / "source", "CoOp", *own, task="fewshot"))
    start = ["MODEL.INIT_WEIGHTS", str(tmp_path / "source")]
    with pytest.raises(UserError, match="class-specific contexts"):
        train.main(command(target_bank, tmp_path / "out", "CoOp", "cross_dataset", "eurosat", *own, *start))


# ------------------------------------------------------------------------------- domain generalization


def test_domain_generalization_evaluates_the_targets_own_classes(miniclip_backbone, tmp_path):
    """Trained on all classes of ImageNet; ImageNet-A has some of them, in its own order of labels."""
    imagenet = make_bank(tmp_path / "imagenet.safetensors", miniclip_backbone, dataset="ImageNet", val=0)
    names = [NAMES[5], NAMES[1], NAMES[2]]
    variant = make_bank(
        tmp_path / "whole.safetensors", miniclip_backbone, names=names, dataset="ImageNetA", test=6, noise=6.0
    )
    variant = poison(variant, tmp_path / "imagenet_a.safetensors", lambda part, label: part != "test")
    source = tmp_path / "fewshot/imagenet/shots_4/CoOp/miniclip/seed1"
    train.main(command(imagenet, source, "CoOp", "fewshot", "imagenet", "OPTIM.LR", "0.2"))
    train.main(
        command(
            variant, tmp_path / "out", "CoOp", "domain_generalization", "imagenet_a", "MODEL.INIT_WEIGHTS", str(source)
        )
    )
    found = results(tmp_path / "out")
    logits = coop_logits(miniclip_backbone, newest_state(source)["ctx"], names)
    assert found["metrics"]["accuracy"] == pytest.approx(plain_accuracy(miniclip_backbone, variant, logits, names))
    assert (found["task"], found["source"]) == ("domain_generalization", "imagenet")


# ------------------------------------------------------------------------------- generalized zero-shot learning


@pytest.fixture(scope="module")
def flo_bank(tmp_path_factory, miniclip_backbone):
    """Proposed Splits in small: two unseen classes, which have test images only."""
    path = tmp_path_factory.mktemp("flo") / "flo.safetensors"
    return make_bank(path, miniclip_backbone, dataset="FLO", train=9, val=0, test=7, unseen=len(UNSEEN), noise=6.0)


def test_gzsl_is_the_mean_over_classes_in_the_joint_label_space(flo_bank, miniclip_backbone, tmp_path):
    from trainers.core.model.prompts import encode_texts

    train.main(command(flo_bank, tmp_path, "ZeroshotCLIP", "gzsl", "flo", "DATASET.NUM_SHOTS", "-1"))
    found = results(tmp_path)["metrics"]
    text = encode_texts(miniclip_backbone, [f"a photo of a {name.replace('_', ' ')}." for name in NAMES])
    by_class = plain_accuracy(miniclip_backbone, flo_bank, lambda features: features @ text.t(), NAMES, per_class=True)
    seen = sum(by_class[label] for label in range(5)) / 5
    unseen = sum(by_class[label] for label in (5, 6)) / 2
    assert {name: value for name, value in found.items() if "crossed" not in name} == {
        "seen": pytest.approx(seen),
        "unseen": pytest.approx(unseen),
        "H": pytest.approx(2 * seen * unseen / (seen + unseen)),
    }
    after = log(tmp_path)[log(tmp_path).index("Finish training") :]
    assert after.count("* accuracy: ") == 1 and "* unseen_accuracy: " in after and "* H: " in after


@pytest.mark.parametrize("trainer, names", [("CoOp", SEEN), ("CoOp_SHIP", NAMES), ("f_VAEGAN", NAMES)])
def test_gzsl_trains_on_all_seen_images(flo_bank, tmp_path, trainer, names):
    train.main(command(flo_bank, tmp_path, trainer, "gzsl", "flo", "DATASET.NUM_SHOTS", "-1"))
    assert set(results(tmp_path)["metrics"]) == GZSL and results(tmp_path)["shots"] == -1
    assert "45 training images" in log(tmp_path)  # 9 of each of the 5 seen classes
    (checkpoint,) = tmp_path.glob("*/model.pth.tar-3")
    assert torch.load(checkpoint, weights_only=True)["classnames"] == names


def test_gzsl_takes_base_classes_as_seen_where_a_dataset_has_no_splits_of_its_own(tiny_bank, tmp_path):
    from trainers.core.bank import read_bank

    train.main(
        argv(tiny_bank, tmp_path, "CoOp_SHIP", "DATASET.NUM_SHOTS", "-1", "TEST.FINAL_MODEL", "best_val", task="gzsl")
    )
    assert set(results(tmp_path)["metrics"]) == GZSL
    checkpoint = torch.load(tmp_path / "prompt_learner/model.pth.tar-3", weights_only=True)
    assert checkpoint["classnames"] == NAMES and "24 training images" in log(tmp_path)  # all 6 of 4 base classes
    assert "SUBSAMPLE_CLASSES: base" in (tmp_path / "config.yaml").read_text()
    assert len(json.loads(read_bank(tiny_bank)[1]["split"])["train"]) == 6 * len(NAMES)


@pytest.mark.parametrize("task", ["base2new", "gzsl", "leave_classes_out"])
def test_a_task_takes_its_base_half_by_itself(tiny_bank, tmp_path, task):
    """Whatever SUBSAMPLE_CLASSES says: no forgotten option may turn a new class into a trained one."""
    metrics = []
    for subset in ("base", "all"):
        args = argv(tiny_bank, tmp_path / subset, "CoOp", "DATASET.SUBSAMPLE_CLASSES", subset, task=task)
        cfg = train.setup_cfg(train.parse_args(args))
        trainer = build_trainer(cfg)
        trainer.train()
        assert trainer.trained_classnames == (NAMES[:2] if task == "leave_classes_out" else NAMES[:4])
        metrics.append(results(tmp_path / subset)["metrics"])
        assert "SUBSAMPLE_CLASSES: base" in (tmp_path / subset / "config.yaml").read_text()
    assert metrics[0] == metrics[1]


@pytest.mark.parametrize("task", ["base2new", "gzsl", "leave_classes_out"])
def test_training_on_the_new_half_contradicts_the_task(tiny_bank, tmp_path, task):
    with pytest.raises(UserError, match="trains on the base half.*SUBSAMPLE_CLASSES is new.*--eval-only"):
        train.main(argv(tiny_bank, tmp_path, "CoOp", "DATASET.SUBSAMPLE_CLASSES", "new", task=task))
    assert not (tmp_path / "results.json").exists()


# ------------------------------------------------------------------------------- no leak


@pytest.mark.parametrize(
    "trainer, task", [("CoOp_SHIP", "base2new"), ("Tip_Adapter_F_SHIP", "base2new"), ("TF_VAEGAN", "gzsl")]
)
def test_images_of_label_only_classes_are_never_read_in_training(tiny_bank, tmp_path, trainer, task):
    """Training and validation features of the new classes are not numbers: the run does not notice."""
    poisoned = poison(tiny_bank, tmp_path / "poisoned.safetensors", lambda part, label: part != "test" and label >= 4)
    for name, bank in (("whole", tiny_bank), ("poisoned", poisoned)):
        train.main(argv(bank, tmp_path / name, trainer, task=task))
    assert results(tmp_path / "poisoned")["metrics"] == results(tmp_path / "whole")["metrics"]
    whole, other = newest_state(tmp_path / "whole"), newest_state(tmp_path / "poisoned")
    assert all(torch.equal(value, other[name]) for name, value in whole.items())


@pytest.mark.parametrize("task", ["base2new", "gzsl"])
def test_image_files_of_label_only_classes_are_never_read_in_training(tmp_path, task):
    """Not even their test images, before the evaluation."""
    split = make_split(NAMES[:4], train=3, val=1, test=1)
    folder = tmp_path / "data/caltech-101"
    for path, label, _ in [item for part in split.values() for item in part]:
        file = folder / "101_ObjectCategories" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        if label < 2:
            Image.new("RGB", (40, 40), (90 * label, 40, 200)).save(file)
        else:
            file.write_bytes(b"no image")
    (folder / "split_zhou_Caltech101.json").write_text(json.dumps(split))
    options = [
        "FEATURES.DIR",
        str(tmp_path / "cache"),
        "FEATURES.VIEWS",
        "1",
        "DATALOADER.NUM_WORKERS",
        "0",
        "DATASET.NUM_SHOTS",
        "-1",
    ]
    arguments = argv("", tmp_path / "out", "CoOp_SHIP", *options, "TEST.NO_TEST", "True", task=task)
    train.main(["--root", str(tmp_path / "data"), *arguments])
    assert (tmp_path / "out/prompt_learner/model.pth.tar-3").exists()
    with pytest.raises(UserError, match="cannot be read"):
        train.main(["--root", str(tmp_path / "data"), *arguments, "TEST.NO_TEST", "False"])
