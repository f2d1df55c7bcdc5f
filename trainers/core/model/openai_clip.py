"""OpenAI's CLIP models: the `clip` package, its weights' download, and state dicts in OpenAI's naming."""

import os
import time
import urllib.error
import urllib.request
import warnings
import zipfile
from functools import cache

import torch
from tqdm import tqdm

from ..files import BLOCK, UserError, locked, sha256_of

PIXEL_MEAN = (0.48145466, 0.4578275, 0.40821073)
PIXEL_STD = (0.26862954, 0.26130258, 0.27577711)
CACHE = os.path.join("~", ".cache", "clip")  # where the `clip` package itself, and so CoOp, keeps its downloads


@cache
def import_clip():
    """The `clip` package (OpenAI's, clip-anytorch's or CoOp's copy)."""
    try:
        with warnings.catch_warnings():  # pkg_resources announces its removal at each import
            warnings.simplefilter("ignore")
            import clip
            import clip.clip
            import clip.model
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
                download(url, path, expected, hint="set MODEL.BACKBONE.NAME to the file's path")
    found = sha256_of(path)
    if found != expected:
        raise UserError(f"{path} is damaged: sha256 {found}, expected {expected}. Delete it to download it again.")
    return path, expected


def download(url, path, sha256, hint="", attempts=5, pause=1.0):
    """Download `url` to `path` with progress; a cut connection resumes, also in a later call, from `path`.part.

    Raises UserError when no connection can be made or the checksum is not `sha256` (nothing is left behind then).
    """
    part = path + ".part"
    for attempt in range(attempts):
        try:
            _resume(url, part)
            break
        except (OSError, EOFError) as error:  # URLError, timeouts and resets are OSErrors
            status = getattr(error, "code", None)
            if attempt + 1 == attempts or (status is not None and status < 500):
                have = os.path.getsize(part) if os.path.exists(part) else 0
                raise UserError(
                    f"cannot download {url}\n  reason: {error}\n  expected file: {path}\n  sha256: {sha256}\n"
                    f"  {have} bytes are kept in {part}; the next try continues there.\n"
                    f"Without a network, bring the file to that path" + (f", or {hint}." if hint else ".")
                ) from error
            time.sleep(pause * 2**attempt)
    found = sha256_of(part)
    if found != sha256:
        os.remove(part)
        raise UserError(
            f"{url}: the file has sha256 {found}, expected {sha256}; it was removed. "
            "Try again; if it repeats, something between here and the server changes the file."
        )
    os.replace(part, path)


def _resume(url, part):
    """Append what is missing of `url` to the file `part`; EOFError when the connection ends before the file does."""
    have = os.path.getsize(part) if os.path.exists(part) else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        source = urllib.request.urlopen(request, timeout=60)
    except urllib.error.HTTPError as error:
        if error.code == 416:  # nothing beyond what we have: complete, or wrong and found so by its checksum
            return
        raise
    with source:
        if source.status != 206:  # the server sends the file from its start
            have = 0
        length = source.headers.get("Content-Length")
        total = have + int(length) if length is not None else None
        with (
            open(part, "r+b" if have else "wb") as file,
            tqdm(total=total, initial=have, unit="B", unit_scale=True, desc=os.path.basename(part[:-5])) as bar,
        ):
            file.seek(have)
            while block := source.read(BLOCK):
                file.write(block)
                bar.update(len(block))
            if total is not None and file.tell() < total:
                raise EOFError(f"the connection ended after {file.tell()} of {total} bytes")


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
    """clip.model.CLIP in float32 from a state dict in OpenAI's naming; all sizes are read off the tensors' shapes.

    (clip.model.build_model would round the weights to half precision.) Raises UserError where keys are missing.
    """
    vit = "visual.proj" in state
    needed = [
        "text_projection",
        "positional_embedding",
        "token_embedding.weight",
        "ln_final.weight",
        "logit_scale",
        "transformer.resblocks.0.attn.in_proj_weight",
        "visual.conv1.weight",
        "visual.positional_embedding" if vit else "visual.attnpool.positional_embedding",
    ]
    missing = [key for key in needed if key not in state]
    if missing:
        raise UserError(
            f"{source} is not a state dict in OpenAI CLIP's naming: it lacks {', '.join(missing)} "
            f"(it has {len(state)} tensors: {', '.join(list(state)[:4])} ...)"
        )
    if vit:
        width, _, _, patch = state["visual.conv1.weight"].shape
        layers = len({key.split(".")[3] for key in state if key.startswith("visual.transformer.resblocks.")})
        size = patch * round((len(state["visual.positional_embedding"]) - 1) ** 0.5)
    else:
        layers = tuple(
            len({key.split(".")[2] for key in state if key.startswith(f"visual.layer{stage}.")})
            for stage in (1, 2, 3, 4)
        )
        width, patch = len(state["visual.layer1.0.conv1.weight"]), None
        size = 32 * round((len(state["visual.attnpool.positional_embedding"]) - 1) ** 0.5)
    text_width, embed_dim = state["text_projection"].shape
    model = import_clip().model.CLIP(
        embed_dim=embed_dim,
        image_resolution=size,
        vision_layers=layers,
        vision_width=width,
        vision_patch_size=patch,
        context_length=len(state["positional_embedding"]),
        vocab_size=len(state["token_embedding.weight"]),
        transformer_width=text_width,
        transformer_heads=max(1, text_width // 64),
        transformer_layers=len({key.split(".")[2] for key in state if key.startswith("transformer.resblocks.")}),
    )
    extra = ("input_resolution", "context_length", "vocab_size")  # scalars that OpenAI's archives carry
    try:
        model.load_state_dict({key: value for key, value in state.items() if key not in extra})
    except RuntimeError as error:
        raise UserError(f"{source} does not fit CLIP's architecture: {' '.join(str(error).split())[:500]}") from error
    return model
