"""One door to every backbone: load_backbone(cfg) gives a frozen CLIP with its own preprocessing and logit scale.

MODEL.BACKBONE.NAME is "MiniCLIP" (embedded), a name of OpenAI's ("ViT-B/16", the papers' choice), the path of a state
dict in OpenAI's naming, or "open_clip:<model>/<pretrained>".
"""

import hashlib
import os

import torch
import torch.nn.functional as F
from torch import nn

from ..files import UserError, nearest, verified_sha256
from . import open_clip_models, openai_clip
from .towers import LayerNorm

DASSL_PIXELS = {"PIXEL_MEAN": (0.485, 0.456, 0.406), "PIXEL_STD": (0.229, 0.224, 0.225)}  # dassl's default: ImageNet's
WEIGHT_FILES = (".pt", ".pth", ".bin", ".safetensors")
# Layer norms beside our own that cast their input to float32 and back. In all others CUDA refuses float32 weights for
# half input.
CASTING_NORMS = {"clip.model.LayerNorm", "miniclip.LayerNorm", "open_clip.transformer.LayerNormFp32"}


class Backbone(nn.Module):
    """A frozen CLIP: image tower, text tower under OpenAI's names, tokens, preprocessing, logit scale.

    d = `embed_dim` is the width of the joint space, w = `width` that of the text tower's tokens.
    """

    def __init__(
        self, model, name, weights_hash, pixel_mean, pixel_std, input_size, interpolation="bicubic", dtype=torch.float32
    ):
        """`model` has the attributes of OpenAI's CLIP; its modules are taken over, frozen and cast to `dtype`."""
        super().__init__()
        self.visual = model.visual
        self.token_embedding = model.token_embedding
        self.positional_embedding = model.positional_embedding  # [77, w]
        self.transformer = model.transformer
        self.ln_final = model.ln_final
        self.text_projection = model.text_projection  # [w, d]
        self.logit_scale = model.logit_scale  # logarithm of the scale
        self.name, self.weights_hash = name, weights_hash
        self.pixel_mean, self.pixel_std = tuple(pixel_mean), tuple(pixel_std)
        self.input_size, self.interpolation = int(input_size), interpolation
        self.requires_grad_(False)
        self.train(False)
        self._cast(dtype)

    def _cast(self, dtype):
        """Everything becomes `dtype` but the logit scale and the norms that run in float32 inside a half tower.

        Buffers too: a mask or a position table in float32 would turn what it is added to into float32.
        """
        for module in self.modules():
            kept = runs_in_float32(module)
            for tensor in (*module.parameters(recurse=False), *module.buffers(recurse=False)):
                if tensor.is_floating_point():
                    tensor.data = tensor.data.to(torch.float32 if kept or tensor is self.logit_scale else dtype)

    @property
    def dtype(self):
        return self.text_projection.dtype

    @property
    def device(self):
        return self.text_projection.device

    @property
    def context_length(self):
        return self.positional_embedding.shape[0]

    @property
    def width(self):
        return self.text_projection.shape[0]

    @property
    def embed_dim(self):
        return self.text_projection.shape[1]

    def train(self, mode=True):
        """Stays in eval mode whatever the model around it does."""
        return super().train(False)

    def encode_image(self, images):
        """Images [B, 3, H, W] -> unit features [B, d]."""
        return F.normalize(self.visual(images.to(self.device, self.dtype)).float(), dim=-1).to(self.dtype)

    def encode_text_plain(self, tokens):
        """Token ids [N, 77] -> features [N, d], not normalised: all 77 positions through the tower's own modules."""
        return self.encode_prompts_plain(self.token_embedding(tokens), tokens.argmax(-1))

    def encode_prompts_plain(self, prompts, eot):
        """Token embeddings [N, 77, w] without positions, EOT's place [N] -> [N, d]: what text_encoder.py must equal."""
        x = prompts.to(self.dtype) + self.positional_embedding
        x = self.transformer(x.transpose(0, 1)).transpose(0, 1)  # OpenAI's tower wants [77, N, w]
        x = self.ln_final(x).to(self.dtype)
        return x[torch.arange(len(x), device=x.device), eot.to(x.device)] @ self.text_projection


def runs_in_float32(module):
    """Whether `module` is a norm that takes half input with float32 weights, on a GPU as on a CPU."""
    kind = type(module)
    ours = isinstance(module, (nn.modules.batchnorm._BatchNorm, LayerNorm))
    return ours or f"{kind.__module__}.{kind.__qualname__}" in CASTING_NORMS


def known_backbones():
    """Names that load_backbone knows by themselves; paths and open_clip models come on top."""
    return ["MiniCLIP", *openai_clip.model_urls()]


def load_backbone(cfg, dtype=torch.float32, device="cpu"):
    """The frozen backbone that cfg.MODEL.BACKBONE.NAME asks for; UserError when there is none or it cannot run so."""
    name, device = cfg.MODEL.BACKBONE.NAME, torch.device(device)
    if device.type == "cpu" and dtype == torch.float16:
        raise UserError(
            f"{str(dtype).removeprefix('torch.')} does not run on the CPU: set {_precision_keys(cfg)} to fp32 or auto"
        )
    if name == "MiniCLIP":
        backbone = _miniclip(dtype)
    elif name.startswith(open_clip_models.PREFIX):
        backbone = _open_clip(name, dtype)
    elif name in openai_clip.model_urls():
        backbone = _openai(name, *openai_clip.fetch(name), dtype)
    elif os.path.isfile(os.path.expanduser(name)):
        path = os.path.expanduser(name)
        backbone = _openai(name, path, verified_sha256(path), dtype)
    elif name.endswith(WEIGHT_FILES):
        raise UserError(f"MODEL.BACKBONE.NAME: there is no file {os.path.abspath(os.path.expanduser(name))}")
    else:
        raise UserError(
            f"unknown backbone {name!r}. MODEL.BACKBONE.NAME is one of "
            f"{', '.join(nearest(name, known_backbones()))}, the path of a state dict in OpenAI's naming, "
            "or open_clip:<model>/<pretrained>"
        )
    # convolutions are a third faster so on a CPU, and faster on a GPU too
    backbone.visual.to(memory_format=torch.channels_last)
    return backbone.to(device)


def _precision_keys(cfg):
    """The PREC keys that ask for half precision, as one types them."""
    sections = [(key, value) for key, value in cfg.get("TRAINER", {}).items() if hasattr(value, "get")]
    keys = [f"TRAINER.{key}.PREC" for key, value in sections if value.get("PREC") == "fp16"]
    return " and ".join(keys) or "the trainer's PREC (TRAINER.<its section>.PREC)"


def _miniclip(dtype):
    try:
        import miniclip

        model = miniclip.load()
    except ImportError as error:
        raise UserError(
            f"MiniCLIP cannot be loaded ({error}): it needs the package timm (pip install timm) and this "
            "repository's third_party/ folder on the Python path"
        ) from error
    except (OSError, ValueError) as error:
        raise UserError(str(error)) from error
    return Backbone(
        model,
        "MiniCLIP",
        miniclip.SHA256,
        miniclip.PIXEL_MEAN,
        miniclip.PIXEL_STD,
        miniclip.INPUT_SIZE,
        dtype=dtype,
    )


def _openai(name, path, sha256, dtype):
    model = openai_clip.build(openai_clip.read_state_dict(path), path)
    return Backbone(
        model, name, sha256, openai_clip.PIXEL_MEAN, openai_clip.PIXEL_STD, model.visual.input_resolution, dtype=dtype
    )


def _open_clip(name, dtype):
    parts = open_clip_models.load(name)
    return Backbone(name=name, dtype=dtype, weights_hash=hash_tensors(parts.pop("state")), **parts)


def hash_tensors(state):
    """sha256 over names, dtypes, shapes and values of a state dict, for weights that come without a file."""
    digest = hashlib.sha256()
    for key in sorted(state):
        value = state[key].detach().cpu().contiguous()
        digest.update(f"{key} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def apply_preprocessing(cfg, backbone):
    """Write the backbone's preprocessing into cfg.INPUT, in place of dassl's defaults.

    A value that is neither dassl's default nor the backbone's was set on purpose, and wrongly: UserError.
    """
    wanted = {
        "PIXEL_MEAN": (DASSL_PIXELS["PIXEL_MEAN"], backbone.pixel_mean),
        "PIXEL_STD": (DASSL_PIXELS["PIXEL_STD"], backbone.pixel_std),
        "SIZE": ((224, 224), (backbone.input_size,) * 2),
    }
    for key, (default, own) in wanted.items():
        given = tuple(cfg.INPUT[key])
        if not any(_same(given, value) for value in (default, own)):
            raise UserError(
                f"INPUT.{key} is {list(given)}, but {backbone.name} expects {list(own)}: remove the key "
                f'from the config or command line, or type INPUT.{key} "{list(own)}"'
            )
    if cfg.INPUT.INTERPOLATION not in ("bilinear", backbone.interpolation):
        raise UserError(
            f"INPUT.INTERPOLATION is {cfg.INPUT.INTERPOLATION}, but {backbone.name} expects "
            f"{backbone.interpolation}: remove the key, or type INPUT.INTERPOLATION "
            f"{backbone.interpolation}"
        )
    frozen = cfg.is_frozen()
    cfg.defrost()
    for key, (_, own) in wanted.items():
        cfg.INPUT[key] = type(cfg.INPUT[key])(own)
    cfg.INPUT.INTERPOLATION = backbone.interpolation
    # Dassl leaves it to the list, also at test; a backbone without it sees other images
    if "normalize" not in cfg.INPUT.TRANSFORMS:
        cfg.INPUT.TRANSFORMS = (*cfg.INPUT.TRANSFORMS, "normalize")
    if frozen:
        cfg.freeze()


def _same(a, b):
    return len(a) == len(b) and all(abs(x - y) < 1e-6 for x, y in zip(a, b, strict=True))
