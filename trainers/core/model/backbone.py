"""One door to every backbone: load_backbone(cfg) gives a frozen CLIP with its own preprocessing and logit scale.

MODEL.BACKBONE.NAME is "MiniCLIP" (embedded), a name of OpenAI's ("ViT-B/16", the papers' choice), the path of a state
dict in OpenAI's naming, or "open_clip:<model>/<pretrained>".
"""

import os

import torch
import torch.nn.functional as F
from dassl.config import get_cfg_default
from torch import nn

from ..files import UserError, nearest, verified_sha256
from . import open_clip_models, openai_clip
from .towers import LayerNorm

# Norms that take half input with float32 weights, on a GPU as on a CPU: layer norms by casting to float32 and back. In
# all others CUDA refuses that.
OWN_NORMS = (nn.modules.batchnorm._BatchNorm, LayerNorm)
CASTING_NORMS = {"miniclip.LayerNorm", "open_clip.transformer.LayerNormFp32"}


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
        self.context_length = len(self.positional_embedding)
        self.width, self.embed_dim = self.text_projection.shape
        self.requires_grad_(False)
        self.train(False)
        self._cast(dtype)

    def _cast(self, dtype):
        """Everything becomes `dtype` but the logit scale and the norms that run in float32 inside a half tower.

        Buffers too: a mask or a position table in float32 would turn what it is added to into float32.
        """
        for module in self.modules():
            kind = type(module)
            kept = f"{kind.__module__}.{kind.__qualname__}" in CASTING_NORMS or isinstance(module, OWN_NORMS)
            for tensor in (*module.parameters(recurse=False), *module.buffers(recurse=False)):
                if tensor.is_floating_point():
                    tensor.data = tensor.data.to(torch.float32 if kept or tensor is self.logit_scale else dtype)

    @property
    def dtype(self):
        return self.text_projection.dtype

    @property
    def device(self):
        return self.text_projection.device

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


def load_backbone(cfg, dtype=torch.float32, device="cpu"):
    """The frozen backbone that cfg.MODEL.BACKBONE.NAME asks for. Raises UserError where there is none."""
    name = cfg.MODEL.BACKBONE.NAME
    path = os.path.expanduser(name)
    if name == "MiniCLIP":
        import miniclip  # a checkout with trainers/ alone does without

        model = miniclip.load()
        about = miniclip.SHA256, miniclip.PIXEL_MEAN, miniclip.PIXEL_STD, miniclip.INPUT_SIZE
    elif name.startswith(open_clip_models.PREFIX):
        model, *about = open_clip_models.load(name)
    elif os.path.isfile(path):
        model, *about = openai_clip.load(path, verified_sha256(path))
    elif name in openai_clip.import_clip()._MODELS:
        model, *about = openai_clip.load(*openai_clip.fetch(name))
    else:
        known = ", ".join(nearest(name, ["MiniCLIP", *openai_clip.import_clip()._MODELS]))
        raise UserError(
            f"unknown backbone {name!r}, and there is no file {os.path.abspath(path)}. MODEL.BACKBONE.NAME is one of "
            f"{known}, the path of a state dict in OpenAI's naming, or open_clip:<model>/<pretrained>"
        )
    backbone = Backbone(model, name, *about, dtype=dtype)
    # convolutions are a third faster so on a CPU, and faster on a GPU too
    backbone.visual.to(memory_format=torch.channels_last)
    return backbone.to(device)


def apply_preprocessing(cfg, backbone):
    """Writes the backbone's preprocessing into cfg.INPUT, in place of Dassl's defaults. Raises UserError for a value
    that is neither: it was set on purpose, and wrongly."""
    size, default = (backbone.input_size, backbone.input_size), get_cfg_default().INPUT
    wanted = {"PIXEL_MEAN": backbone.pixel_mean, "PIXEL_STD": backbone.pixel_std, "SIZE": size}
    wanted["INTERPOLATION"] = backbone.interpolation
    cfg.defrost()
    for key, value in wanted.items():
        kind = type(cfg.INPUT[key])
        if cfg.INPUT[key] not in (kind(default[key]), kind(value)):
            raise UserError(
                f"INPUT.{key} is {cfg.INPUT[key]}, but {backbone.name} expects {value}: remove the key from the config "
                f'or command line, or type INPUT.{key} "{value}"'
            )
        cfg.INPUT[key] = kind(value)
    cfg.INPUT.TRANSFORMS = with_normalize(cfg.INPUT.TRANSFORMS)
    cfg.freeze()


def with_normalize(transforms):
    """INPUT.TRANSFORMS as every run has them. Dassl leaves normalising to the list, also at test; a backbone without it
    sees other images."""
    return transforms if "normalize" in transforms else (*transforms, "normalize")
