"""MiniCLIP's loader: the original loader's features, golden values, and what is said when the weights are missing."""

import importlib.util
from pathlib import Path

import miniclip
import pytest
import torch
import torch.nn.functional as F

TOKENS = torch.tensor(
    [
        [49406, 320, 1125, 539, 320, 1929, 269, 49407, 0, 0],  # "a photo of a dog."
        [49406, 2368, 49407, 0, 0, 0, 0, 0, 0, 0],  # "cat"
    ]
)
GOLDEN = {
    "image": [-0.025767, -0.353341, 0.353148, -0.197749],
    "text": [[0.435129, -0.04144, -0.070283, 0.224593], [-0.255172, 0.061748, -0.06314, 0.104353]],
}


@pytest.fixture(scope="module")
def model():
    return miniclip.load()


def picture():
    """A smooth image that any machine computes alike [1, 3, 224, 224]."""
    x = torch.linspace(-2, 2, 224)
    return torch.stack([torch.sin(3 * x)[:, None] * x, x[:, None] + x, torch.cos(5 * x)[:, None] * torch.sin(x)])[None]


def test_equals_the_original_loader(model, shared):
    source = shared / "miniclip" / "load_miniclip.py"
    if not source.is_file():
        pytest.skip("needs the original loader of MiniCLIP, which is not there")
    spec = importlib.util.spec_from_file_location("load_miniclip", source)
    original = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(original)
    reference = original.load(str(source.parent / "miniclip.safetensors"))
    images = torch.cat([picture(), torch.randn(3, 3, 224, 224, generator=torch.Generator().manual_seed(0))])
    with torch.no_grad():
        assert torch.allclose(model.encode_image(images), reference.encode_image(images), atol=1e-6)
        assert torch.allclose(model.encode_text(TOKENS), reference.encode_text(TOKENS), atol=1e-5)
    assert torch.equal(model.logit_scale, reference.logit_scale)
    assert miniclip.PIXEL_MEAN == (original.MEAN,) * 3 and miniclip.PIXEL_STD == (original.STD,) * 3
    assert miniclip.INPUT_SIZE == original.SIZE


def test_golden_values(model):
    with torch.no_grad():
        image, text = model.encode_image(picture())[0], F.normalize(model.encode_text(TOKENS), dim=-1)
    assert torch.allclose(image[:4], torch.tensor(GOLDEN["image"]), atol=1e-4)
    assert torch.allclose(text[:, :4], torch.tensor(GOLDEN["text"]), atol=1e-4)
    assert abs(image.norm().item() - 1) < 1e-5 and image.shape == (256,)
    assert not model.training and model.logit_scale.item() == 2.5


def test_weights_that_are_missing_or_damaged_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="weights are missing.*nowhere.safetensors"):
        miniclip.load(str(tmp_path / "nowhere.safetensors"))
    path = tmp_path / "copy.safetensors"
    good = Path(miniclip.WEIGHTS).read_bytes()
    path.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))  # where the features would hardly move
    with pytest.raises(ValueError, match="weights .*copy.safetensors are damaged: their sha256 is"):
        miniclip.load(str(path))


def test_the_tokenizer_is_openais():
    import clip.simple_tokenizer
    from miniclip.tokenizer import tokenizer

    theirs = clip.simple_tokenizer.SimpleTokenizer()
    texts = (Path(__file__).parents[2] / "README.md").read_text().split()
    texts += ["X crème brûlée &amp; 5's\n l'été 日本 😀", "", "<|startoftext|> IT'S ｆｕｌｌ <|endoftext|>"]
    assert tokenizer().encoder == theirs.encoder and tokenizer().byte_decoder == theirs.byte_decoder
    assert [tokenizer().encode(text) for text in texts] == [theirs.encode(text) for text in texts]
