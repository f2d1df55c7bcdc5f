"""A classifier for other programs: its weights alone as safetensors, or the whole of it as ONNX."""

import json
import os
import warnings

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn

from .files import UserError, replacing
from .heads import linear_of

CLOSE = 1e-4  # how far what a written file computes may be from the model, absolute or relative
OUTPUTS = ["logits", "probabilities", "features"]


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


@torch.no_grad()
def write_safetensors(path, trainer, head, names):
    """weight [C, d], bias [C] and scale [1]: logits = scale * (f @ weight^T + bias) of unit image features f. Raises
    UserError where the head is no such function."""
    found = linear_of(head)
    if found is None:
        method = trainer.cfg.TRAINER.NAME
        raise UserError(f"the logits of {method} are no linear function of an image's feature: export to a file .onnx")
    tensors = {name: tensor.float().cpu().contiguous() for name, tensor in zip(("weight", "bias", "scale"), found)}
    about = {**description(trainer, names), "logits": "scale * (features @ weight^T + bias), features of unit norm"}
    with replacing(path) as part:
        save_file(tensors, part, about)


class Classifier(nn.Module):
    """uint8 crops [B, S, S, 3] -> logits [B, C], probabilities [B, C], unit features [B, d]; float32 on the CPU."""

    def __init__(self, backbone, head, temperature):
        super().__init__()
        self.visual, self.head, self.temperature = backbone.visual, head, temperature
        self.mean, self.std = (torch.tensor(each).view(3, 1, 1) for each in (backbone.pixel_mean, backbone.pixel_std))

    def forward(self, crops: Tensor):
        pixels = (crops.permute(0, 3, 1, 2).float() / 255 - self.mean) / self.std
        features = F.normalize(self.visual(pixels).float(), dim=-1)
        logits = self.head(features).float()
        return logits, (logits / self.temperature).softmax(1), features


@torch.no_grad()
def write_onnx(path, trainer, head, names):
    """The whole classifier, checked against the model on three images and on one. Raises UserError where it cannot be
    exported, or gives other logits."""
    try:
        import onnx
        import onnxruntime
    except ImportError as error:
        raise UserError(f"export to ONNX needs pip install 'ship-trainers[onnx]' ({error})") from None
    for part in head.modules():
        if getattr(part, "NO_EXPORT", ""):
            raise UserError(f"{trainer.cfg.TRAINER.NAME} cannot be exported to ONNX: {part.NO_EXPORT}")
    if trainer.device.type != "cpu" or trainer.backbone.dtype != torch.float32:
        raise UserError("export to ONNX works in float32 on a CPU: load the saved model with device='cpu', PREC fp32")
    size = trainer.backbone.input_size
    model = Classifier(trainer.backbone, head, trainer.temperature).eval()
    crops = torch.randint(256, (3, size, size, 3), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    expected = model(crops)  # which also computes what a head keeps between batches
    with replacing(path) as part:
        _export(model, crops, part)
        written = onnx.load(part)
        onnx.helper.set_model_props(written, description(trainer, names))
        onnx.save(written, part)
        session = onnxruntime.InferenceSession(os.fspath(part), providers=["CPUExecutionProvider"])
        for count in (3, 1):
            answers = session.run(None, {"crops": crops[:count].numpy()})
            if not all(np.allclose(a, b[:count].numpy(), CLOSE, CLOSE) for a, b in zip(answers, expected)):
                raise UserError(f"{path}: what ONNX computes differs from the model; nothing is written")


def _export(model, crops, path):
    """By torch's newer exporter; by the older one where that fails. The number of images is free."""
    given = {"input_names": ["crops"], "output_names": OUTPUTS, "opset_version": 18, "verbose": False}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            shapes = {"crops": {0: torch.export.Dim("images", min=1, max=4096)}}
            torch.onnx.export(model, (crops,), path, dynamo=True, dynamic_shapes=shapes, external_data=False, **given)
        except Exception:  # whatever an operator that it does not know raises
            axes = {name: {0: "images"} for name in ("crops", *OUTPUTS)}
            torch.onnx.export(model, (crops,), path, dynamo=False, dynamic_axes=axes, **given)
