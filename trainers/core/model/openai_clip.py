"""OpenAI's CLIP models: the tokenizer of the `clip` package, the weights' download, state dicts in OpenAI's naming."""

import os
import warnings
import zipfile
from functools import cache

import torch

from ..download import download
from ..files import UserError, locked, sha256_of
from .towers import build_clip

PIXEL_MEAN = (0.48145466, 0.4578275, 0.40821073)
PIXEL_STD = (0.26862954, 0.26130258, 0.27577711)
CACHE = os.path.join("~", ".cache", "clip")  # where the `clip` package itself, and so CoOp, keeps its downloads


@cache
def import_clip():
    """The `clip` package (OpenAI's, clip-anytorch's or CoOp's copy), of which the tokenizer and the list of models are
    used."""
    try:
        with warnings.catch_warnings():  # pkg_resources announces its removal at each import
            warnings.simplefilter("ignore")
            import clip
            import clip.clip
    except ImportError as error:
        raise UserError(
            f"the package `clip`, CLIP's tokenizer and OpenAI's models, cannot be imported ({error}): "
            "pip install clip-anytorch 'setuptools>=77,<81'"
        ) from error
    return clip


def model_urls():
    """{name: address} of OpenAI's models, from the `clip` package; the folder before the file name is its sha256."""
    return dict(import_clip().clip._MODELS)


def fetch(name, folder=CACHE):
    """(path, sha256) of the weights of an OpenAI model, downloaded into `folder` when they are not there."""
    url = model_urls()[name]
    folder = os.path.abspath(os.path.expanduser(folder))
    path, expected = os.path.join(folder, os.path.basename(url)), url.split("/")[-2]
    if not os.path.isfile(path):
        with locked(f"{path}.lock", f"another process downloads {name}; waiting for it"):
            if not os.path.isfile(path):  # else another process has brought it meanwhile
                try:
                    download(url, path, expected)
                except UserError as error:
                    raise UserError(
                        f"{error}\nWithout a network, bring the file to {path} (sha256: {expected}), or set "
                        "MODEL.BACKBONE.NAME to the file's path."
                    ) from None
    digest = sha256_of(path)
    if digest != expected:
        raise UserError(f"{path} is damaged: sha256 {digest}, expected {expected}. Delete it to download it again.")
    return path, expected


def read_state_dict(path):
    """State dict of a .safetensors file, of a TorchScript archive (OpenAI's form) or of a file of torch.save."""
    try:
        if path.endswith(".safetensors"):
            from safetensors.torch import load_file

            state = load_file(path)
        elif zipfile.is_zipfile(path) and any("/code/" in name for name in zipfile.ZipFile(path).namelist()):
            with warnings.catch_warnings():  # torch announces the end of TorchScript at each load
                warnings.simplefilter("ignore")
                state = torch.jit.load(path, map_location="cpu").state_dict()
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"{path} cannot be read as a state dict ({type(error).__name__}: {reason}). Expected a "
            ".safetensors file, a TorchScript archive as OpenAI publishes, or what torch.save made of a "
            "state dict"
        ) from error
    state = state.get("state_dict", state) if isinstance(state, dict) else state
    if not isinstance(state, dict):
        raise UserError(f"{path} holds a {type(state).__name__}; expected a state dict")
    tensors = {key: value for key, value in state.items() if isinstance(key, str) and isinstance(value, torch.Tensor)}
    return {key.removeprefix("module."): value for key, value in tensors.items()}


def build(state, source):
    """towers.CLIP in float32 from a state dict in OpenAI's naming. Raises UserError where keys are missing."""
    needed = [
        "text_projection",
        "positional_embedding",
        "token_embedding.weight",
        "ln_final.weight",
        "logit_scale",
        "transformer.resblocks.0.attn.in_proj_weight",
        "visual.conv1.weight",
        "visual.positional_embedding" if "visual.proj" in state else "visual.attnpool.positional_embedding",
    ]
    missing = [key for key in needed if key not in state]
    if missing:
        raise UserError(
            f"{source} is not a state dict in OpenAI CLIP's naming: it lacks {', '.join(missing)} "
            f"(it has {len(state)} tensors: {', '.join(list(state)[:4])} ...)"
        )
    extra = ("input_resolution", "context_length", "vocab_size")  # scalars that OpenAI's archives carry
    try:
        return build_clip({key: value for key, value in state.items() if key not in extra})
    except RuntimeError as error:
        raise UserError(f"{source} does not fit CLIP's architecture: {' '.join(str(error).split())[:500]}") from error
