"""Cross-dataset transfer, domain generalization and generalized zero-shot learning through the real command line, on
tiny banks and images; no task reads what it must not see."""

import json

import pytest
import torch
from dassl.utils import UserError
from PIL import Image
from plain import hand_written, plain_text_features
from runs import Recorded, argv, log, newest_state, open_data, results, same_state
from tiny_data import NAMES, accuracy, features_of, make_bank, make_split, poison

import train

TARGET = ["forest", "river", "highway"]
SEEN, UNSEEN = NAMES[:5], NAMES[5:]
GZSL = {"seen", "unseen", "H", "crossed_seen", "crossed_unseen"}
GZSL |= {"ausuc", "openworld_auc", "auroc", "ece_seen", "ece_unseen"}
TRANSFER = {"task": "cross_dataset", "dataset": "eurosat"}
ALL = ["DATASET.NUM_SHOTS", "-1"]


@torch.no_grad()
def plain_accuracy(backbone, bank, ctx, names):
    """Accuracy in percent of the bank's test images over `names`, by CoOp's formula and the 77-token path."""
    features, labels = features_of(bank)
    return accuracy((features @ plain_text_features(backbone, names, ctx).t()).argmax(1), labels)


def starts_from(source):
    return ["MODEL.INIT_WEIGHTS", str(source), "TRAINER.SHIP.INIT_FROM", str(source)]


# ---- cross-dataset transfer


@pytest.fixture(scope="module")
def target_bank(tmp_path_factory, miniclip_backbone):
    """A target whose training and validation features cannot be used."""
    folder, about = tmp_path_factory.mktemp("target"), {"names": TARGET, "dataset": "EuroSAT", "noise": 6.0}
    bank = make_bank(folder / "whole.safetensors", miniclip_backbone, test=7, **about)
    return poison(bank, folder / "target.safetensors", lambda part, label: part != "test")


@pytest.fixture(scope="module")
def source(tmp_path_factory, tiny_bank):
    """A source run of CoOp_SHIP on all classes."""
    out = tmp_path_factory.mktemp("source") / "fewshot/caltech101/shots_4/CoOp_SHIP/miniclip/seed1"
    train.main(argv(tiny_bank, out, "CoOp_SHIP", "OPTIM.LR", "0.2", task="fewshot"))
    return out


def test_a_source_run_of_a_twin_is_the_plain_method_and_a_generator(source, tiny_bank, tmp_path):
    train.main(argv(tiny_bank, tmp_path, "CoOp", "OPTIM.LR", "0.2", task="fewshot"))
    found = results(source)
    assert same_state(source, tmp_path)
    assert found["metrics"] == results(tmp_path)["metrics"] and not found["source"]
    assert (source / "generator/generator.pth.tar").exists() and not (tmp_path / "generator").exists()


def test_plain_methods_apply_the_source_to_the_target(source, target_bank, miniclip_backbone, tmp_path):
    train.main(argv(target_bank, tmp_path, "CoOp", *starts_from(source), **TRANSFER))
    found = results(tmp_path)
    expected = plain_accuracy(miniclip_backbone, target_bank, newest_state(source)["ctx"], TARGET)
    assert found["metrics"] == {"accuracy": pytest.approx(expected)}
    about = {"source": "caltech101", "dataset": "eurosat", "shots": 4, "task": "cross_dataset"}
    assert {key: found[key] for key in about} == about and found["selection"] == "source run: last epoch"
    assert same_state(source, tmp_path)


def test_ship_fine_tunes_the_sources_context_on_synthetic_features_of_the_targets_names(
    source, target_bank, tmp_path, monkeypatch
):
    options = [*starts_from(source), "OPTIM.LR", "0.2", "DATASET.NUM_SHOTS", "7"]
    run = Recorded(monkeypatch, argv(target_bank, tmp_path, "CoOp_SHIP", *options, **TRANSFER))
    found, before = results(tmp_path), newest_state(source)["ctx"]
    assert found["source"] == "caltech101" and found["shots"] == 4 and set(found["metrics"]) == {"accuracy"}
    assert torch.equal(run.start["ctx"], before) and not torch.equal(newest_state(tmp_path)["ctx"], before)
    assert run.trainer.trained_classnames == TARGET
    saved = torch.load(source / "generator/generator.pth.tar", weights_only=True)["state_dict"]
    generator = run.trainer.plugins[0].synthesizer.generator.state_dict()
    assert all(torch.equal(value, saved[f"generator.{name}"]) for name, value in generator.items())
    assert len(run.steps) == 3 * (len(TARGET) * 7 // 8)  # epochs x batches of 8 out of 7 features a class
    assert all(step.features.shape == (8, 256) and step.features.isfinite().all() for step in run.steps)
    assert {int(label) for step in run.steps for label in step.labels} == set(range(len(TARGET)))


@pytest.mark.parametrize(
    "trainer, options, words",
    [
        ("CoOp", {}, ["cross_dataset", "MODEL.INIT_WEIGHTS"]),
        ("CoOp", {"MODEL.INIT_WEIGHTS": "nowhere"}, ["nowhere"]),
        ("CoOp_SHIP", {"MODEL.INIT_WEIGHTS": "source"}, ["cross_dataset", "TRAINER.SHIP.INIT_FROM"]),
        ("Tip_Adapter_F", {"TRAINER.TIP_ADAPTER.SEARCH": "False"}, ["no training images", "MODEL.INIT_WEIGHTS"]),
        ("f_VAEGAN", {}, ["no training images", "TASK gzsl"]),
    ],
)
def test_a_transfer_without_its_source_says_what_is_missing(source, target_bank, tmp_path, trainer, options, words):
    given = [item for key, value in options.items() for item in (key, str(source) if value == "source" else value)]
    with pytest.raises(UserError) as error:
        train.main(argv(target_bank, tmp_path, trainer, *given, **TRANSFER))
    assert all(word in str(error.value) for word in words), str(error.value)


def test_domain_generalization_evaluates_the_targets_own_classes(miniclip_backbone, tmp_path):
    """Trained on all classes of ImageNet; ImageNet-A has some of them, in its own order of labels."""
    imagenet = make_bank(tmp_path / "imagenet.safetensors", miniclip_backbone, dataset="ImageNet", val=0)
    about = {"names": [NAMES[5], NAMES[1], NAMES[2]], "dataset": "ImageNetA", "noise": 6.0}
    variant = make_bank(tmp_path / "whole.safetensors", miniclip_backbone, test=6, **about)
    variant = poison(variant, tmp_path / "imagenet_a.safetensors", lambda part, label: part != "test")
    source, out = tmp_path / "source", tmp_path / "out"
    train.main(argv(imagenet, source, "CoOp", "OPTIM.LR", "0.2", task="fewshot", dataset="imagenet"))
    start = ["MODEL.INIT_WEIGHTS", source]
    train.main(argv(variant, out, "CoOp", *start, task="domain_generalization", dataset="imagenet_a"))
    found = results(out)
    expected = plain_accuracy(miniclip_backbone, variant, newest_state(source)["ctx"], about["names"])
    assert found["metrics"]["accuracy"] == pytest.approx(expected)
    assert (found["task"], found["source"]) == ("domain_generalization", "imagenet")


# ---- generalized zero-shot learning


@pytest.fixture(scope="module")
def flo_bank(tmp_path_factory, miniclip_backbone):
    """Proposed Splits in small: two unseen classes, which have test images only."""
    path = tmp_path_factory.mktemp("flo") / "flo.safetensors"
    return make_bank(path, miniclip_backbone, dataset="FLO", train=9, val=0, test=7, unseen=len(UNSEEN), noise=6.0)


def test_gzsl_is_the_mean_over_classes_in_the_joint_label_space(flo_bank, miniclip_backbone, tmp_path):
    train.main(argv(flo_bank, tmp_path, "ZeroshotCLIP", *ALL, task="gzsl", dataset="flo"))
    features, labels = features_of(flo_bank)
    predicted = (features @ hand_written(miniclip_backbone, NAMES).t()).argmax(1)
    by_class = [accuracy(predicted[labels == label], label) for label in range(7)]
    seen, unseen = sum(by_class[:5]) / 5, sum(by_class[5:]) / 2
    found = results(tmp_path)["metrics"]
    sent = ((predicted < 5) != (labels < 5)).double() * 100
    crossed = [sent[labels == label].mean().item() for label in range(7)]
    expected = {"seen": seen, "unseen": unseen, "H": 2 * seen * unseen / (seen + unseen)}
    expected |= {"crossed_seen": sum(crossed[:5]) / 5, "crossed_unseen": sum(crossed[5:]) / 2}
    assert {name: found[name] for name in expected} == pytest.approx(expected)
    after = log(tmp_path)[log(tmp_path).index("Finish training") :]
    assert after.count("* accuracy: ") == 1 and "* unseen_accuracy: " in after and "* H: " in after


@pytest.mark.parametrize("trainer, names", [("CoOp", SEEN), ("f_VAEGAN", NAMES)])
def test_gzsl_trains_on_all_seen_images(flo_bank, tmp_path, trainer, names):
    train.main(argv(flo_bank, tmp_path, trainer, *ALL, task="gzsl", dataset="flo"))
    assert set(results(tmp_path)["metrics"]) == GZSL and results(tmp_path)["shots"] == -1
    assert "45 training images" in log(tmp_path)  # 9 of each of the 5 seen classes
    (checkpoint,) = tmp_path.glob("*/model.pth.tar-3")
    assert torch.load(checkpoint, weights_only=True)["classnames"] == names


@pytest.mark.parametrize("task", ["base2new", "gzsl"])
def test_a_task_takes_its_base_half_by_itself(tiny_bank, tmp_path, task):
    """Whatever SUBSAMPLE_CLASSES says: no forgotten option may turn a new class into a trained one; and training on the
    new half contradicts the task."""
    metrics = []
    for subset in ("base", "all"):
        options = ["DATASET.SUBSAMPLE_CLASSES", subset, "OPTIM.MAX_EPOCH", "1"]
        trainer = open_data(argv(tiny_bank, tmp_path / subset, "CoOp", *options, task=task))
        assert {*trainer.head_classnames()} <= {*NAMES[:4]} and trainer.task.subset == "base"
        train.main(argv(tiny_bank, tmp_path / subset, "CoOp", *options, task=task))
        metrics.append(results(tmp_path / subset)["metrics"])
        assert "SUBSAMPLE_CLASSES: base" in (tmp_path / subset / "config.yaml").read_text()
    assert metrics[0] == metrics[1]
    with pytest.raises(UserError, match="trains on the base half.*SUBSAMPLE_CLASSES is new.*--eval-only"):
        train.main(argv(tiny_bank, tmp_path / "new", "CoOp", "DATASET.SUBSAMPLE_CLASSES", "new", task=task))
    assert not (tmp_path / "new/results.json").exists()


def test_image_files_of_new_classes_are_never_read_in_training(tmp_path):
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
    options = [*ALL, *"FEATURES.VIEWS 1 DATALOADER.NUM_WORKERS 0 FEATURES.DIR".split(), tmp_path / "cache"]
    words = argv("", tmp_path / "out", "CoOp_SHIP", *options, "TEST.NO_TEST", "True")
    train.main(["--root", str(tmp_path / "data"), *words])
    assert (tmp_path / "out/prompt_learner/model.pth.tar-3").exists()
    with pytest.raises(UserError, match="cannot be read"):
        train.main(["--root", str(tmp_path / "data"), *words, "TEST.NO_TEST", "False"])
