"""OpenAI's CLIP models: the `clip` package's tokenizer and list of models, their download, files of their weights."""

import os
import warnings

import torch
from safetensors.torch import load_file

from ..download import download
from ..files import UserError, locked, sha256_of
from .towers import build_clip

PIXEL_MEAN = (0.48145466, 0.4578275, 0.40821073)
PIXEL_STD = (0.26862954, 0.26130258, 0.27577711)


def import_clip():
    """The module clip.clip of OpenAI's package, of clip-anytorch, or of CoOp's copy. Raises UserError without it."""
    try:
        with warnings.catch_warnings():  # pkg_resources announces its removal
            warnings.simplefilter("ignore")
            import clip.clip
    except ImportError as error:
        raise UserError(f"CLIP's package is missing ({error}): pip install clip-anytorch 'setuptools<81'") from error
    return clip.clip


def fetch(name):
    """(path, sha256) of the weights of an OpenAI model, downloaded when they are not there, to where the package `clip`
    itself, and so CoOp, keeps them."""
    url = import_clip()._MODELS[name]
    expected, file = url.split("/")[-2:]
    path = os.path.expanduser(f"~/.cache/clip/{file}")
    if not os.path.isfile(path):
        with locked(f"{path}.lock", f"another process downloads {name}; waiting for it"):
            try:
                if not os.path.isfile(path):  # else another process has brought it meanwhile
                    download(url, path, expected)
            except UserError as error:
                raise UserError(
                    f"{error}\nWithout a network, bring the file to {path} (sha256: {expected}), or set "
                    "MODEL.BACKBONE.NAME to the file's path."
                ) from None
    if sha256_of(path) != expected:
        raise UserError(f"{path} is damaged: its sha256 is not {expected}. Delete it to download it again.")
    return path, expected


def load(path, sha256):
    """Backbone's arguments but the name, for a file of CLIP's weights. Raises UserError where it is none."""
    try:
        model = build_clip(read_state_dict(path))
    except Exception as error:  # whatever a file that is something else leads to
        expected = "weights of CLIP in OpenAI's naming: TorchScript, a state dict of torch.save, or safetensors"
        raise UserError(f"{path}: expected {expected}; found {error!r:.500}") from error
    return model, sha256, PIXEL_MEAN, PIXEL_STD, model.visual.input_resolution


def read_state_dict(path):
    """State dict of a .safetensors file, of a TorchScript archive (OpenAI's form) or of a file of torch.save."""
    if path.endswith(".safetensors"):
        return load_file(path)
    try:
        with warnings.catch_warnings():  # torch announces the end of TorchScript at each load
            warnings.simplefilter("ignore")
            return torch.jit.load(path, map_location="cpu").state_dict()
    except RuntimeError:  # no such archive
        return torch.load(path, map_location="cpu", weights_only=True)
