"""read_image keeps an image's content, whatever its format, or refuses it by name."""

import numpy as np
import pytest
from dassl.utils import UserError, read_image
from PIL import Image, ImageOps


@pytest.fixture
def grey():
    """An 8-bit image in grey."""
    return Image.fromarray((np.add.outer(np.arange(60), np.arange(80)) * 255 // 138).astype(np.uint8))


def pixels(image):
    return np.asarray(image).astype(float)


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.jp2", "white-is-zero.tif", "float.tif", "a.pfm"])
def test_more_than_8_bits_are_scaled_by_the_range_of_their_format(grey, tmp_path, name):
    file, sixteen = tmp_path / name, pixels(grey).astype(np.uint16) * 257
    if "float" in name or "pfm" in name:
        Image.fromarray((pixels(grey) / 255).astype(np.float32)).save(file)
    elif "white" in name:
        Image.fromarray(65535 - sixteen).save(file, tiffinfo={262: 0})
    else:
        Image.fromarray(sixteen).save(file)
    found, expected = pixels(read_image(str(file))), pixels(grey.convert("RGB"))
    assert found.shape == expected.shape and np.abs(found - expected).max() <= 0.005 * 255


@pytest.mark.parametrize("values", [np.array([[0, 70000]], np.int32), np.array([[-0.5, 0.5]], np.float32)])
def test_values_without_a_known_range_are_refused_by_name(tmp_path, values):
    Image.fromarray(values).save(tmp_path / "odd.tif")
    with pytest.raises(UserError, match=r"odd.tif: its values \(mode [IF]\) run from .* not known: save it"):
        read_image(str(tmp_path / "odd.tif"))


def test_other_modes_keep_their_colours(tmp_path):
    red = Image.new("RGB", (6, 4), (200, 30, 40))
    red.putpixel((0, 0), (10, 20, 30))
    frames = [red.quantize(4), Image.new("P", red.size)]
    saved = {
        "palette.png": lambda file: frames[0].save(file, transparency=0),
        "rgba.png": lambda file: red.convert("RGBA").save(file),
        "animated.gif": lambda file: frames[0].save(file, save_all=True, append_images=frames[1:]),
        "cmyk.tif": lambda file: red.convert("CMYK").save(file),
        "la.png": lambda file: red.convert("LA").save(file),
        "one-bit.png": lambda file: red.convert("1").save(file),
    }
    for name, save in saved.items():
        save(tmp_path / name)
        found = read_image(str(tmp_path / name))
        expected = red.convert("L").convert("RGB") if name == "la.png" else red
        expected = red.convert("1").convert("RGB") if name == "one-bit.png" else expected
        assert found.mode == "RGB" and np.abs(pixels(found) - pixels(expected)).max() <= 8, name


@pytest.mark.parametrize("ink, paper", [(0, 255), (255, 0)])
def test_a_shape_in_the_transparency_alone_is_seen(tmp_path, ink, paper):
    """A logo, or a digit (NVIDIA DIGITS #85): without its transparency it is one colour."""
    alpha = Image.new("L", (8, 8))
    alpha.paste(255, (2, 2, 6, 6))
    image = Image.new("RGB", (8, 8), (ink,) * 3)
    image.putalpha(alpha)
    image.save(tmp_path / "logo.png")
    found = pixels(read_image(str(tmp_path / "logo.png")))[:, :, 0]
    assert found[0, 0] == paper and found[4, 4] == ink


def test_an_orientation_is_not_applied_as_in_coop(tmp_path, grey):
    exif = Image.Exif()
    exif[0x0112] = 6
    grey.save(tmp_path / "turned.png", exif=exif)
    assert ImageOps.exif_transpose(Image.open(tmp_path / "turned.png")).size == grey.size[::-1]
    assert np.array_equal(pixels(read_image(str(tmp_path / "turned.png"))), pixels(grey.convert("RGB")))


def test_a_strip_is_refused_before_it_takes_memory(tmp_path):
    Image.new("RGB", (1, 20000)).save(tmp_path / "strip.png")
    with pytest.raises(UserError, match="strip.png: it is 1 x 20000 pixels: one side is more than 100 times"):
        read_image(str(tmp_path / "strip.png"))
    Image.new("RGB", (1000, 10)).save(tmp_path / "strip.png")
    assert read_image(str(tmp_path / "strip.png")).size == (1000, 10)
