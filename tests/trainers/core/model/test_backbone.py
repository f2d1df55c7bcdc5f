"""Backbones: every way to name one, CLIP's own features, preprocessing, and what is said when it cannot be had."""

import hashlib
import json
import sys
from pathlib import Path
from types import ModuleType

import clip.clip
import clip.model
import numpy as np
import pytest
import timm
import torch
import torch.nn.functional as F
from dassl.config import get_cfg_default
from dassl.utils import read_image
from helpers.cuda_dtypes import CudaDtypes
from helpers.http_server import serving
from plain import relative
from safetensors.torch import save_file
from tiny_clip import tiny_clip
from torch import nn

from trainers.core.files import UserError
from trainers.core.model import openai_clip
from trainers.core.model.backbone import Backbone, apply_preprocessing, load_backbone
from trainers.core.model.prompts import encode_texts, tokenize
from trainers.core.model.text_encoder import TextEncoder
from trainers.core.model.towers import build_clip

ROOT = Path(__file__).resolve().parents[4]
TOKENS = tokenize(["a photo of a dog.", "cat"])
IMAGES = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def load(name, *precision, **where):
    cfg = get_cfg_default()
    cfg.MODEL.BACKBONE.NAME = str(name)
    return load_backbone(cfg, *precision, **where)


def small_clip(image_layers=1, vision_width=64):
    """A random float32 model of OpenAI's own class, small in everything but its vocabulary; a ResNet where it has four
    numbers of layers. Every bias and buffer has values: a zero would hide one that is forgotten."""
    torch.manual_seed(0)
    size, patch = (64, None) if isinstance(image_layers, tuple) else (32, 16)
    model = clip.model.CLIP(32, size, image_layers, vision_width, patch, 77, 49408, 64, 1, 2).eval()
    for name, tensor in model.state_dict().items():
        if name.endswith(("bias", "running_mean")):
            nn.init.normal_(tensor, std=0.02)
        elif name.endswith(("bn3.weight", "running_var")):
            nn.init.uniform_(tensor, 0.5, 1.5)
    return model


@pytest.mark.parametrize("shape", [(2, 128), ((1, 2, 1, 1), 16)], ids=["ViT", "ResNet"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@torch.no_grad()
def test_features_are_those_of_clip(shape, dtype):
    """In half precision both towers round at the same places: norms in float32, everything else in half. (But the
    ResNet's attention, which sums in another order.)"""
    theirs, is_resnet = small_clip(*shape), isinstance(shape[0], tuple)
    size = theirs.visual.input_resolution
    ours, images = (
        Backbone(build_clip(theirs.state_dict()), "", "", (), (), size, dtype=dtype),
        torch.rand(2, 3, size, size),
    )
    for module in theirs.modules():
        if not isinstance(module, (clip.model.LayerNorm, nn.BatchNorm2d)):
            for parameter in module.parameters(recurse=False):
                parameter.data = parameter.data.to(dtype)
    text, image = ours.encode_text_plain(TOKENS), ours.visual(images.to(dtype))
    assert text.dtype == image.dtype == dtype
    assert relative(text.float(), theirs.encode_text(TOKENS).float()) <= 1e-6
    bound = 1e-3 if is_resnet and dtype == torch.float16 else 1e-6
    assert relative(image.float(), theirs.encode_image(images).float()) <= bound


def test_a_checkouts_own_classes_are_not_used(monkeypatch):
    """Copies of `clip` in other checkouts have models with other arguments."""
    state = small_clip().state_dict()
    monkeypatch.setitem(sys.modules, "clip.model", None)
    assert build_clip(state).visual.input_resolution == 32


@pytest.mark.parametrize("file", ["plain.pth", "tensors.safetensors", "jit.pt"])
@pytest.mark.filterwarnings("ignore")
def test_a_local_file_in_any_form(tmp_path, file):
    path, vit = tmp_path / file, small_clip()
    if file == "tensors.safetensors":
        save_file(vit.state_dict(), path)
    elif file == "jit.pt":  # OpenAI's form
        torch.jit.trace(vit, (IMAGES, TOKENS), check_trace=False).save(str(path))
    else:
        torch.save(vit.state_dict() | {"input_resolution": torch.tensor(32), "context_length": torch.tensor(77)}, path)
    backbone = load(path)
    with torch.no_grad():
        features = vit.encode_image(IMAGES)
        assert torch.allclose(backbone.encode_image(IMAGES), features / features.norm(dim=-1, keepdim=True), atol=1e-6)
        assert torch.allclose(backbone.encode_text_plain(TOKENS), vit.encode_text(TOKENS), atol=1e-6)
    assert backbone.weights_hash == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (backbone.embed_dim, backbone.width, backbone.context_length, backbone.input_size) == (32, 64, 77, 32)
    assert backbone.dtype == torch.float32 and backbone.pixel_mean == openai_clip.PIXEL_MEAN
    assert torch.equal(backbone.logit_scale, vit.logit_scale) and backbone.interpolation == "bicubic"
    path.with_name(f"{file}.sha256").write_text(f"{'0' * 64}  {file}\n")
    with pytest.raises(UserError, match=f"{file} is damaged: its sha256 is .*{file}.sha256 says"):
        load(path)


@pytest.mark.parametrize("tower, options", [("test_convnext", {}), ("test_vit_relpos", {"img_size": 32})])
def test_half_precision_under_cudas_rules(tower, options):
    """timm's image towers, one with a table of relative positions, and the text tower differ from float32 by rounding
    alone."""
    full, half = tiny_clip(), tiny_clip()
    for backbone in (full, half):
        torch.manual_seed(0)
        backbone.visual = timm.create_model(tower, num_classes=32, **options).eval()
    half, found = Backbone(half, "half", "", (), (), 32, dtype=torch.float16), []
    with torch.no_grad(), CudaDtypes():
        for backbone in (full, half):
            fast = TextEncoder(backbone)(backbone.token_embedding(TOKENS), TOKENS.argmax(-1))
            found.append((backbone.encode_image(IMAGES), backbone.encode_text_plain(TOKENS), fast))
    for exact, rounded in zip(*found, strict=True):
        assert rounded.dtype == torch.float16 and (rounded.float() - exact).norm() < 0.02 * exact.norm()


def test_bfloat16_runs_on_a_cpu(miniclip_backbone):
    half = load("MiniCLIP", torch.bfloat16)
    photos = [read_image(ROOT / f"datasets/animals/photos/{name}.jpg").resize((224, 224)) for name in ("a1", "b1")]
    images = torch.stack([torch.from_numpy(np.array(photo)).permute(2, 0, 1) / 127.5 - 1 for photo in photos])
    texts = [encode_texts(backbone, ["a dog", "a grand piano"]).float() for backbone in (half, miniclip_backbone)]
    with torch.no_grad():
        seen = [backbone.encode_image(images).float() for backbone in (half, miniclip_backbone)]
    for ours, exact in (texts, seen):
        assert half.dtype == torch.bfloat16 and F.cosine_similarity(ours, exact).min() > 0.995


def test_what_is_no_backbone_is_refused(tmp_path):
    torch.save({"fc.weight": torch.zeros(2)}, tmp_path / "other.pth")
    (tmp_path / "noise.pt").write_bytes(b"not weights")
    torch.save(small_clip().state_dict() | {"ln_final.weight": torch.zeros(3)}, tmp_path / "misfit.pth")
    for name, message in {
        "VIT-B16": r"unknown backbone 'VIT-B16'.* one of ViT-B/16, .*MiniCLIP.*open_clip:<model>",
        tmp_path / "nowhere.pt": "there is no file .*nowhere.pt",
        tmp_path / "other.pth": "other.pth: expected weights of CLIP.*text_projection",
        tmp_path / "noise.pt": "noise.pt: expected weights of CLIP",
        tmp_path / "misfit.pth": "misfit.pth: expected weights of CLIP.*ln_final.weight",
    }.items():
        with pytest.raises(UserError, match=message):
            load(name)


def test_preprocessing_that_is_wrong_on_purpose():
    for key, value in {"PIXEL_MEAN": [0.5] * 3, "PIXEL_STD": [1.0] * 3, "SIZE": (96,), "INTERPOLATION": "box"}.items():
        cfg = get_cfg_default()
        cfg.INPUT[key] = value
        with pytest.raises(UserError, match=f"INPUT.{key} is .*, but tiny expects .*: remove .* or type INPUT.{key}"):
            apply_preprocessing(cfg, tiny_clip())


# ---- weights from the network


def test_weights_are_downloaded_once_and_verified(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    content = bytes(range(256)) * 40
    sha256 = hashlib.sha256(content).hexdigest()
    with serving(monkeypatch) as server:
        server.files[f"/{sha256}/ViT-B-16.pt"] = content
        monkeypatch.setitem(clip.clip._MODELS, "ViT-B/16", f"{server.url}/{sha256}/ViT-B-16.pt")
        for _ in range(2):
            path, digest = openai_clip.fetch("ViT-B/16")
            assert open(path, "rb").read() == content and digest == sha256
        assert len(server.requests) == 1
    open(path, "ab").write(b"!")
    with pytest.raises(UserError, match="ViT-B-16.pt is damaged.*Delete it"):
        openai_clip.fetch("ViT-B/16")


def test_no_network(monkeypatch, tmp_path):
    """The message has the address, the expected path, the checksum and the key to set. (Nobody answers at port 9.)"""
    address = "http://127.0.0.1:9/abc123/ViT-B-16.pt"
    monkeypatch.setitem(clip.clip._MODELS, "ViT-B/16", address)
    monkeypatch.setattr("trainers.core.download.time.sleep", lambda seconds: None)
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(UserError) as caught:
        load("ViT-B/16")
    for part in (address, f"{tmp_path}/.cache/clip/ViT-B-16.pt", "sha256: abc123", "MODEL.BACKBONE.NAME"):
        assert part in str(caught.value)


# ---- open_clip


def test_a_stand_in_for_open_clip(monkeypatch):
    """The hash is that of float32 weights, so that a half-precision run accepts banks and generators made in float32
    (the device "meta" computes nothing). A text tower that gives other features than CLIP's layout is refused."""
    model, module = small_clip(), ModuleType("open_clip")
    module.list_pretrained, module.create_model = lambda: [("small", "random")], lambda *_, **__: model
    module.get_model_preprocess_cfg = lambda model: {"mean": (0.5,) * 3, "std": (0.5,) * 3, "size": 32}
    monkeypatch.setitem(sys.modules, "open_clip", module)
    full = load("open_clip:small/random").weights_hash
    half = load("open_clip:small/random", torch.float16, device="meta")
    assert half.dtype == torch.float16 and half.weights_hash == full
    model = small_clip()
    model.encode_text = lambda ids: model.ln_final(model.token_embedding(ids)).mean(1) @ model.text_projection
    with pytest.raises(UserError, match="other features.*must have CLIP's text tower"):
        load("open_clip:small/random")
    with pytest.raises(UserError, match="open_clip has no small/randm; nearest: open_clip:small/random"):
        load("open_clip:small/randm")


def test_open_clip(tmp_path):
    """Its own features, through our layout: both activations, a tower of timm's. A text tower that is not CLIP's is
    refused."""
    open_clip = pytest.importorskip("open_clip", reason="open_clip is not installed")
    text = {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 2}
    vision = {"image_size": 32, "layers": 1, "width": 64, "patch_size": 16}
    models = {
        "small": {},
        "small-quick": {"quick_gelu": True},
        "small-custom": {"custom_text": True},
        "small-timm": {"vision_cfg": {"timm_model_name": "test_vit", "timm_pool": "", "image_size": 32}},
        "small-open": {"text_cfg": text | {"no_causal_mask": True}, "custom_text": True},
    }
    for name, change in models.items():
        config = {"embed_dim": 32, "vision_cfg": vision, "text_cfg": text} | change
        (tmp_path / f"{name}.json").write_text(json.dumps(config))
    open_clip.add_model_config(tmp_path)
    for name in models:
        model, path = open_clip.create_model(name).eval(), tmp_path / f"{name}.pt"
        torch.save(model.state_dict(), path)
        if name == "small-open":
            with pytest.raises(UserError, match="must have CLIP's text tower"):
                load(f"open_clip:{name}/{path}")
            continue
        backbone = load(f"open_clip:{name}/{path}")
        with torch.no_grad():
            seen = model.encode_image(IMAGES, normalize=True)
            assert torch.allclose(backbone.encode_text_plain(TOKENS), model.encode_text(TOKENS), atol=1e-5)
            assert torch.allclose(backbone.encode_image(IMAGES), seen, atol=1e-5)
