"""The model of the Python API: names added and removed, class weights, files for other programs."""

import json

import numpy as np
import pytest
import torch
from dassl.utils import UserError
from helpers.api import NAMES, NEW, pictures
from PIL import Image
from safetensors import safe_open

import trainers as ship

# ---- names that come and go

STAYING = ("ZeroshotCLIP", "CLIP_Adapter_SHIP", "CoOp_SHIP", "Prototype", "GaussianLDA", "Tip_Adapter_F_SHIP")
OPTIONS = {"TRAINER.TIP_ADAPTER.SEARCH": False}


@pytest.mark.parametrize("method", STAYING)
def test_names_that_are_added_leave_the_other_logits_to_the_bit(method, fitted, rows, tmp_path):
    """Nine old names; one image and many; one thread and two; added twice; saved and loaded; some removed again."""
    model = fitted(method, 3, [*NAMES[3:7], *NEW], **OPTIONS)
    images, threads = rows[0], torch.get_num_threads()
    once = model.add_classes(["otter"])
    twice = once.add_classes(["penguin", "zebra"])
    fewer = twice.remove_classes(["beaver", "otter"])
    assert twice.classnames == (*model.classnames, "otter", "penguin", "zebra")
    assert fewer.base_names == tuple(name for name in model.base_names if name != "beaver")
    kept = []
    for name, changed in (("twice", twice), ("fewer", fewer)):
        changed.save(tmp_path / name)
        kept.append(ship.load(tmp_path / name))
        assert kept[-1].classnames == changed.classnames
    stay = [twice.classnames.index(name) for name in fewer.classnames]
    for number, batch in ((1, images[:1]), (1, images), (2, images[:1]), (2, images)):
        torch.set_num_threads(number)
        logits = [other.logits(batch) for other in (model, once, twice, fewer, *kept)]
        torch.set_num_threads(threads)
        assert np.array_equal(logits[2][:, :9], logits[0]) and np.array_equal(logits[2][:, :10], logits[1])
        assert np.array_equal(logits[2][:, stay], logits[3])
        assert np.array_equal(logits[2], logits[4]) and np.array_equal(logits[3], logits[5])
    named = model.add_classes(["hedgehog"])  # as the last four images are, of which the model had never heard
    assert (named.logits(images[-4:]).argmax(1) == 9).all()


def test_promises_are_less_where_logits_depend_on_all_names(fitted, rows):
    images = rows[0]
    gated = fitted("GaussianLDA_GATE")
    more = gated.add_classes(["otter"])
    assert np.array_equal(more.logits(images)[:, :8], gated.logits(images)[:, :8])  # base names
    models = [fitted(method, 3, **{"TRAINER.VPT.TEST_SAMPLES": 2}) for method in ("CoOp_VPT", "PVA")]
    (vpt, more_vpt), (pva, more_pva) = ((model, model.add_classes(["otter"])) for model in models)
    assert more_vpt.classnames == (*vpt.classnames, "otter") == more_pva.classnames
    for model in (vpt, more_vpt):
        assert np.allclose(np.exp(model.logits(images)).sum(1), 1, atol=1e-5)
    order = more_vpt.logits(images)[:, :5].argsort(1)
    assert np.array_equal(order, vpt.logits(images).argsort(1))
    assert np.array_equal(more_pva.logits(images).argmax(1) < 3, pva.logits(images).argmax(1) < 3)


def test_what_cannot_have_further_names_says_why(fitted):
    for method, reason in (("CoOp", "class-specific contexts"), ("Tip_Adapter", "no key for classes")):
        model = fitted(method, 3, [], **{"TRAINER.COOP.CSC": True, "TRAINER.COOP.CTX_INIT": "", **OPTIONS})
        with pytest.raises(UserError, match=reason):
            model.add_classes(["otter"])
    with pytest.raises(UserError, match="repeats"):
        model.add_classes(["Ant"])
    with pytest.raises(UserError, match="otter"):
        model.remove_classes(["otter"])


def test_class_weights_are_the_logits_also_in_a_file(fitted, rows, tmp_path):
    for model in (fitted("GaussianLDA").add_classes(["otter"]), fitted("CoOp").remove_classes(["ant"])):
        weight, bias, scale = model.class_weights()
        assert np.abs(scale * (rows[0] @ weight.T + bias) - model.logits(rows[0])).max() < 1e-4
        model.export(tmp_path / "model.safetensors")
        with safe_open(tmp_path / "model.safetensors", "np") as file:
            assert json.loads(file.metadata()["classnames"]) == list(model.classnames)
            for name, value in (("weight", weight), ("bias", bias), ("scale", scale)):
                assert np.array_equal(file.get_tensor(name), np.reshape(value, -1) if name == "scale" else value)
    with pytest.warns(UserWarning, match="no linear function"):
        assert fitted("CLIP_Adapter_SHIP").class_weights() is None


# ---- files for other programs


@pytest.mark.parametrize("method", ["GaussianLDA_GATE", "CoOp"])
def test_onnx_holds_the_whole_classifier(method, fitted, tmp_path, capfd):
    onnx, runtime = pytest.importorskip("onnx"), pytest.importorskip("onnxruntime")
    model, path = fitted(method, 3).add_classes(["otter"]), tmp_path / "model.onnx"
    images = [Image.fromarray(pixels).resize((224, 224)) for pixels in pictures(2)]
    model.export(path)
    assert capfd.readouterr().out == ""
    crops = np.stack([np.asarray(image) for image in images])
    logits, probabilities, features = runtime.InferenceSession(path).run(None, {"crops": crops})
    assert np.abs(features - model.features(images)).max() < 1e-3  # ours are kept in half precision
    assert np.abs(logits - model.logits(images)).max() < 2e-2
    assert np.abs(probabilities - model.probabilities(images)).max() < 1e-2
    about = {entry.key: entry.value for entry in onnx.load(path).metadata_props}
    assert json.loads(about["classnames"]) == list(model.classnames) and "224" in about["crop"]
    assert [file.name for file in tmp_path.iterdir()] == ["model.onnx"]


def test_what_cannot_be_exported_says_why(fitted, tmp_path):
    pytest.importorskip("onnxruntime")
    conditional = {"TRAINER.VPT.CONDITIONAL": True, "TRAINER.VPT.TEST_SAMPLES": 1}
    refused = fitted("CoCoOp", 2), fitted("CoOp_VPT", 2, **conditional)
    for model in refused:
        with pytest.raises(UserError, match="prompts of its own"):
            model.export(tmp_path / "model.onnx")
    with pytest.raises(UserError, match="no linear function.*onnx"):
        refused[0].export(tmp_path / "model.safetensors")
    with pytest.raises(UserError, match="must be onnx or safetensors"):
        refused[0].export(tmp_path / "model.bin")
    assert not [*tmp_path.iterdir()]
