"""A classifier for other programs: its weights alone as safetensors, or the whole of it as ONNX."""

import json
import logging
import os
import warnings

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn

from .files import UserError, replacing

CLOSE = 1e-4  # how far what a written file computes may be from the model
OPSET = 18
NEEDS = "export to ONNX needs onnx, onnxruntime and onnxscript: pip install 'ship-trainers[onnx]'"


def description(trainer, names) -> dict[str, str]:
    """What a reader of the file must know: names, and what is done to an image before the crop goes in."""
    backbone, size = trainer.backbone, trainer.backbone.input_size
    return {
        "classnames": json.dumps(list(names)),
        "method": trainer.cfg.TRAINER.NAME,
        "backbone": f"{backbone.name} {backbone.weights_hash}",
        "crop": f"RGB; shorter side to {size} ({backbone.interpolation}), then the {size} x {size} in the middle",
        "pixel_mean": json.dumps(backbone.pixel_mean),
        "pixel_std": json.dumps(backbone.pixel_std),
        "temperature": repr(trainer.temperature),
        "probabilities": "softmax(logits / temperature)",
    }


def write_safetensors(path, trainer, head, names):
    """weight [C, d], bias [C] and scale: logits = scale * (f @ weight^T + bias) of unit image features f. Raises
    UserError where the head is no such function."""
    with torch.no_grad():
        found = head.as_linear() if hasattr(head, "as_linear") else None
    if found is None:
        raise UserError(
            f"{trainer.cfg.TRAINER.NAME} cannot be written as weights alone: its logits are no linear function of an "
            "image's feature; export the whole classifier to a file .onnx"
        )
    tensors = dict(zip(("weight", "bias", "scale"), (*found, head.logit_scale.reshape(1))))
    tensors = {name: value.detach().float().cpu().contiguous() for name, value in tensors.items()}
    about = {**description(trainer, names), "logits": "scale * (features @ weight^T + bias), features of unit norm"}
    with replacing(path) as part:
        save_file(tensors, part, about)


class Classifier(nn.Module):
    """uint8 crops [B, S, S, 3] -> logits [B, C], probabilities [B, C], unit features [B, d]; float32 on the CPU."""

    def __init__(self, backbone, head, temperature):
        super().__init__()
        self.visual, self.head, self.temperature = backbone.visual, head, temperature
        for name in ("mean", "std"):
            self.register_buffer(name, torch.tensor(getattr(backbone, f"pixel_{name}")).view(1, 3, 1, 1))

    def forward(self, crops: Tensor):
        pixels = (crops.permute(0, 3, 1, 2).float() / 255 - self.mean) / self.std
        features = F.normalize(self.visual(pixels).float(), dim=-1)
        logits = self.head(features).float()
        return logits, (logits / self.temperature).softmax(1), features


class LinearHead(nn.Module):
    """scale * (f @ W^T + b), what a head over learned prompts is once its text features are computed."""

    def __init__(self, weight, bias, scale):
        super().__init__()
        self.weight, self.bias, self.scale = weight.detach().float(), bias.detach().float(), float(scale)

    def forward(self, features):
        return self.scale * (features @ self.weight.t() + self.bias)


@torch.no_grad()
def write_onnx(path, trainer, head, names):
    """The whole classifier, checked against the model on three images. Raises UserError where it cannot be exported,
    or gives other logits."""
    try:
        import onnx
        import onnxruntime
    except ImportError as error:
        raise UserError(f"{NEEDS} ({error})") from None
    for part in head.modules():
        reason = getattr(part, "NO_EXPORT", "")
        if reason:
            raise UserError(f"{trainer.cfg.TRAINER.NAME} cannot be exported to ONNX: {reason}")
    if trainer.device.type != "cpu" or trainer.backbone.dtype != torch.float32:
        raise UserError("export to ONNX works in float32 on a CPU: load the saved model with device='cpu', PREC fp32")
    size = trainer.backbone.input_size
    found = head.as_linear() if hasattr(head, "as_linear") else None
    head = head if found is None else LinearHead(*found, head.logit_scale)
    model = Classifier(trainer.backbone, head, trainer.temperature).eval()
    crops = torch.randint(256, (3, size, size, 3), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    expected = model(crops)  # which also computes what a head keeps between batches
    with replacing(path) as part:
        _export(model, crops, part)
        written = onnx.load(part)
        onnx.helper.set_model_props(written, description(trainer, names))
        onnx.save(written, part)
        session = onnxruntime.InferenceSession(os.fspath(part), providers=["CPUExecutionProvider"])
        for count in (3, 1):  # the number of images is free
            answers = session.run(None, {"crops": crops[:count].numpy()})
            worst = max(_difference(a, b[:count].numpy()) for a, b in zip(answers, expected))
            if not worst <= CLOSE:
                raise UserError(f"{path}: what ONNX computes differs from the model by {worst:.2g}; nothing is written")


def _difference(found, expected) -> float:
    """The largest one; relative to the largest value where that is above 1, as single precision is."""
    return float(np.abs(found - expected).max() / max(1.0, np.abs(expected).max()))


def _export(model, crops, path):
    """By torch's newer exporter; by the older one where that cannot."""
    given = {"input_names": ["crops"], "output_names": ["logits", "probabilities", "features"], "opset_version": OPSET}
    level = logging.root.manager.disable
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.disable()  # pages about a graph that the older exporter then takes
        try:
            batch = {"crops": {0: torch.export.Dim("images", min=1, max=4096)}}
            options = {"dynamic_shapes": batch, "external_data": False, "verbose": False}
            torch.onnx.export(model, (crops,), path, dynamo=True, **options, **given)
        except Exception:  # whatever an operator that it does not know raises
            axes = {name: {0: "images"} for name in ("crops", *given["output_names"])}
            torch.onnx.export(model, (crops,), path, dynamo=False, dynamic_axes=axes, **given)
        finally:
            logging.disable(level)
