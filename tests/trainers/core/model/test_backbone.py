"""Backbones: every way to name one, frozen for good, preprocessing, and what is said when it cannot be had."""

import hashlib
import json
import sys
from functools import partial
from pathlib import Path
from types import ModuleType

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
from safetensors.torch import save_file
from tiny_clip import tiny_clip

from trainers.core.files import UserError
from trainers.core.model import openai_clip
from trainers.core.model.backbone import Backbone, apply_preprocessing, load_backbone
from trainers.core.model.prompts import encode_texts, tokenize
from trainers.core.model.text_encoder import TextEncoder

ROOT = Path(__file__).resolve().parents[4]


def config(name):
    cfg = get_cfg_default()
    cfg.MODEL.BACKBONE.NAME = str(name)
    return cfg


def small_clip():
    """A random model of OpenAI's own class, small in everything but its vocabulary, float32."""
    torch.manual_seed(0)
    return clip.model.CLIP(32, 32, 1, 64, 16, 77, 49408, 64, 1, 2).eval()


@pytest.fixture(scope="module")
def vit():
    return small_clip()


@pytest.fixture(scope="module")
def images():
    return torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def save(model, path):
    state = model.state_dict()
    if path.suffix == ".safetensors":
        save_file(state, path)
    elif path.name.startswith("jit"):  # OpenAI's form
        torch.jit.trace(model, (torch.zeros(1, 3, 32, 32), tokenize(["dog"])), check_trace=False).save(str(path))
    else:
        torch.save(state | {"input_resolution": torch.tensor(32), "context_length": torch.tensor(77)}, path)


@pytest.mark.parametrize("file", ["plain.pth", "tensors.safetensors", "jit.pt"])
@pytest.mark.filterwarnings("ignore")
def test_a_local_file_in_any_form(tmp_path, vit, images, file):
    path = tmp_path / file
    save(vit, path)
    backbone = load_backbone(config(path))
    tokens = tokenize(["a photo of a dog.", "cat"])
    with torch.no_grad():
        features = vit.encode_image(images)
        assert torch.allclose(backbone.encode_image(images), features / features.norm(dim=-1, keepdim=True), atol=1e-6)
        assert torch.allclose(backbone.encode_text_plain(tokens), vit.encode_text(tokens), atol=1e-6)
    assert backbone.weights_hash == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (backbone.embed_dim, backbone.width, backbone.context_length, backbone.input_size) == (32, 64, 77, 32)
    assert backbone.dtype == torch.float32 and backbone.pixel_mean == openai_clip.PIXEL_MEAN
    assert torch.equal(backbone.logit_scale, vit.logit_scale) and backbone.interpolation == "bicubic"
    path.with_name(f"{file}.sha256").write_text(f"{'0' * 64}  {file}\n")
    with pytest.raises(UserError, match=f"{file} is damaged: its sha256 is .*{file}.sha256 says"):
        load_backbone(config(path))


def in_half(backbone):
    """`backbone` cast to half precision, on the CPU, which load_backbone refuses."""
    pixels = backbone.pixel_mean, backbone.pixel_std, backbone.input_size
    return Backbone(backbone, backbone.name, backbone.weights_hash, *pixels, dtype=torch.float16)


TOWERS = {
    "timm's ConvNeXt": partial(timm.create_model, "test_convnext", num_classes=32),
    "timm's ViT with a table of relative positions": partial(
        timm.create_model, "test_vit_relpos", img_size=32, num_classes=32
    ),
}


@pytest.mark.parametrize("tower", TOWERS.values(), ids=TOWERS)
def test_half_precision_under_cudas_rules(images, tower):
    """Both towers run in half precision where a GPU's norms would, and differ from float32 by rounding alone."""
    full, half = tiny_clip(), tiny_clip()
    for backbone in (full, half):
        torch.manual_seed(0)
        backbone.visual = tower().eval()
    tokens, found = tokenize(["a photo of a dog.", "cat"]), []
    with torch.no_grad(), CudaDtypes():
        for backbone in (full, in_half(half)):
            fast = TextEncoder(backbone)(backbone.token_embedding(tokens), tokens.argmax(-1))
            found.append((backbone.encode_image(images), backbone.encode_text_plain(tokens), fast))
    for exact, half in zip(*found, strict=True):
        assert half.dtype == torch.float16 and (half.float() - exact).norm() < 0.02 * exact.norm()


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
            load_backbone(config(name))


def test_preprocessing_that_is_wrong_on_purpose():
    for key, value in {"PIXEL_MEAN": [0.5] * 3, "PIXEL_STD": [1.0] * 3, "SIZE": (96,), "INTERPOLATION": "box"}.items():
        cfg = config("any")
        cfg.INPUT[key] = value
        with pytest.raises(UserError, match=f"INPUT.{key} is .*, but tiny expects .*: remove .* or type INPUT.{key}"):
            apply_preprocessing(cfg, tiny_clip())


# ---- weights from the network

CONTENT = bytes(range(256)) * 40
SHA256 = hashlib.sha256(CONTENT).hexdigest()


def test_weights_are_downloaded_once_and_verified(monkeypatch, tmp_path):
    with serving(monkeypatch) as server:
        server.files[f"/{SHA256}/ViT-B-16.pt"] = CONTENT
        monkeypatch.setattr(openai_clip, "model_urls", lambda: {"ViT-B/16": f"{server.url}/{SHA256}/ViT-B-16.pt"})
        for _ in range(2):
            path, digest = openai_clip.fetch("ViT-B/16", folder=tmp_path)
            assert open(path, "rb").read() == CONTENT and digest == SHA256
        assert len(server.requests) == 1
    open(path, "ab").write(b"!")
    with pytest.raises(UserError, match="ViT-B-16.pt is damaged.*Delete it"):
        openai_clip.fetch("ViT-B/16", folder=tmp_path)


def test_no_network(monkeypatch, tmp_path):
    """The message has the address, the expected path, the checksum and the key to set. (Nobody answers at port 9.)"""
    monkeypatch.setattr(openai_clip, "model_urls", lambda: {"ViT-B/16": "http://127.0.0.1:9/abc123/ViT-B-16.pt"})
    monkeypatch.setattr("trainers.core.download.time.sleep", lambda seconds: None)
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(UserError) as caught:
        load_backbone(config("ViT-B/16"))
    place = f"{tmp_path}/.cache/clip/ViT-B-16.pt"
    for part in ("http://127.0.0.1:9/abc123/ViT-B-16.pt", place, "sha256: abc123", "MODEL.BACKBONE.NAME"):
        assert part in str(caught.value)


def test_bfloat16_runs_on_a_cpu(miniclip_backbone):
    half = load_backbone(config("MiniCLIP"), torch.bfloat16)
    photos = [read_image(ROOT / f"datasets/animals/photos/{name}.jpg").resize((224, 224)) for name in ("a1", "b1")]
    images = torch.stack([torch.from_numpy(np.array(photo)).permute(2, 0, 1) / 127.5 - 1 for photo in photos])
    texts = [encode_texts(backbone, ["a dog", "a grand piano"]).float() for backbone in (half, miniclip_backbone)]
    with torch.no_grad():
        seen = [backbone.encode_image(images).float() for backbone in (half, miniclip_backbone)]
    for ours, exact in (texts, seen):
        assert half.dtype == torch.bfloat16 and F.cosine_similarity(ours, exact).min() > 0.995


# ---- open_clip


def test_a_stand_in_for_open_clip(monkeypatch):
    """The hash is that of float32 weights, so that a half-precision run accepts banks and generators made in float32
    (the device "meta" computes nothing). A text tower that gives other features than CLIP's layout is refused."""

    def create_model(architecture, pretrained, precision):
        assert precision == "fp32"
        return model

    model, module = small_clip(), ModuleType("open_clip")
    module.list_pretrained, module.create_model = lambda: [("small", "random")], create_model
    module.get_model_preprocess_cfg = lambda model: {"mean": (0.5,) * 3, "std": (0.5,) * 3, "size": 32}
    monkeypatch.setitem(sys.modules, "open_clip", module)
    name = "open_clip:small/random"
    full = load_backbone(config(name)).weights_hash
    half = load_backbone(config(name), torch.float16, device="meta")
    assert half.dtype == torch.float16 and half.weights_hash == full
    model = small_clip()
    model.encode_text = lambda ids: model.ln_final(model.token_embedding(ids)).mean(1) @ model.text_projection
    with pytest.raises(UserError, match="other features.*must have CLIP's text tower"):
        load_backbone(config(name))
    with pytest.raises(UserError, match="open_clip has no small/randm; nearest: open_clip:small/random"):
        load_backbone(config("open_clip:small/randm"))


def test_open_clip(tmp_path):
    """Its own features, through our layout: both activations, a tower of timm's. A text tower that is not CLIP's is
    refused."""
    open_clip = pytest.importorskip("open_clip", reason="open_clip is not installed")
    small = {
        "embed_dim": 32,
        "vision_cfg": {"image_size": 32, "layers": 1, "width": 64, "patch_size": 16},
        "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 2},
    }
    models = {
        "small": {},
        "small-quick": {"quick_gelu": True},
        "small-custom": {"custom_text": True},
        "small-timm": {"vision_cfg": {"timm_model_name": "test_vit", "timm_pool": "", "image_size": 32}},
        "small-open": {"text_cfg": small["text_cfg"] | {"no_causal_mask": True}, "custom_text": True},
    }
    for name, change in models.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(small | change))
    open_clip.add_model_config(tmp_path)
    tokens, images = tokenize(["a photo of a dog.", "cat"]), torch.rand(2, 3, 32, 32)
    for name in [*models][:-1]:
        model, path = open_clip.create_model(name).eval(), tmp_path / f"{name}.pt"
        torch.save(model.state_dict(), path)
        backbone = load_backbone(config(f"open_clip:{name}/{path}"))
        with torch.no_grad():
            text, seen = model.encode_text(tokens), model.encode_image(images, normalize=True)
            assert torch.allclose(backbone.encode_text_plain(tokens), text, atol=1e-5)
            assert torch.allclose(backbone.encode_image(images), seen, atol=1e-5)
    torch.save(open_clip.create_model("small-open").state_dict(), tmp_path / "open.pt")
    with pytest.raises(UserError, match="must have CLIP's text tower"):
        load_backbone(config(f"open_clip:small-open/{tmp_path / 'open.pt'}"))
