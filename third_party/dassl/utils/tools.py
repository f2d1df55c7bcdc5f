"""Seeds, images and a description of the machine."""

import importlib.machinery
import os
import platform
import random
import sys

import numpy as np
import PIL
import torch
from PIL import Image

from .. import __version__
from .errors import MissingFile, UnreadableImage
from .files import check_isfile, listdir_nohidden, mkdir_if_missing, read_json, write_json

__all__ = [
    "check_isfile",
    "collect_env_info",
    "listdir_nohidden",
    "mkdir_if_missing",
    "other_installs",
    "read_image",
    "read_json",
    "set_random_seed",
    "tolist_if_not",
    "write_json",
]

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def set_random_seed(seed):
    """Seed Python, NumPy and PyTorch on every device."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


LONGEST = 100  # times the shorter side: a resize of the shorter side would make gigabytes of a 20000 x 1 image
BITS_PER_SAMPLE, PHOTOMETRIC = 258, 262  # tags of TIFF


def read_image(path):
    """The first frame of an image file as an RGB PIL image; MissingFile or UnreadableImage, each with the path.

    Values of more than 8 bits are scaled by the range of their format, floats from 0..1. Transparency is dropped, as
    CoOp does, and an orientation in the EXIF data is not applied, as there.
    """
    if not os.path.isfile(path):
        raise MissingFile(f"expected an image at {path}, found none")
    try:
        with Image.open(path) as image:
            return _as_rgb(image)
    except Exception as error:  # PIL's decoders raise OSError, SyntaxError, ValueError, struct.error, ...
        raise UnreadableImage(f"cannot read the image {path}: {error}") from error


def _as_rgb(image):
    """`image` as RGB. Raises ValueError where its shape or the range of its values is not usable."""
    if max(image.size) > LONGEST * min(image.size):
        width, height = image.size
        raise ValueError(f"it is {width} x {height} pixels: one side is more than {LONGEST} times the other")
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        values = np.asarray(image, dtype=np.float64)
        values /= _white(image, values)
        if image.format == "TIFF" and image.tag_v2.get(PHOTOMETRIC) == 0:  # 0 is white
            values = 1 - values
        return Image.fromarray(np.rint(values * 255).astype(np.uint8)).convert("RGB")
    rgb = image.convert("RGB")
    if image.has_transparency_data and all(low == high for low, high in rgb.getextrema()):
        return _on_paper(image.convert("RGBA"))
    return rgb


def _white(image, values):
    """The value that stands for white in a grey image of more than 8 bits. Raises ValueError where none is known."""
    if image.mode == "F" and values.min() >= 0 and values.max() <= 1:
        return 1
    bits = 16 if image.mode.startswith("I;16") or image.format in ("PNG", "PPM") else 32
    bits = image.tag_v2[BITS_PER_SAMPLE][0] if image.format == "TIFF" else bits
    if image.mode != "F" and bits <= 16 and values.min() >= 0:
        return 2**bits - 1
    raise ValueError(
        f"its values (mode {image.mode}) run from {values.min():g} to {values.max():g}, and which of them is white is "
        "not known: save it with 8 or 16 bits without sign, or as floats from 0 to 1"
    )


def _on_paper(rgba):
    """An image of one colour, whose shape is in its transparency alone, on white or on black."""
    paper = "white" if sum(rgba.getpixel((0, 0))[:3]) < 3 * 128 else "black"
    return Image.alpha_composite(Image.new("RGBA", rgba.size, paper), rgba).convert("RGB")


def tolist_if_not(x):
    """`x` if it is a list, else a list that holds it."""
    return x if isinstance(x, list) else [x]


def other_installs():
    """Folders of other packages called dassl that could be imported if this one were not first on the path."""
    found = []
    for entry in sys.path:
        spec = importlib.machinery.PathFinder.find_spec("dassl", [entry or os.getcwd()])
        if spec and spec.origin:
            folder = os.path.dirname(os.path.abspath(spec.origin))
            if folder != _PACKAGE and folder not in found:
                found.append(folder)
    return found


def collect_env_info():
    """A few lines about the machine and the versions, with the dassl in use first."""
    lines = [f"dassl {__version__} ({_PACKAGE})"]
    lines += [f"another dassl is installed and not used: {folder}" for folder in other_installs()]
    lines.append(f"Python {platform.python_version()}, {platform.platform()}, {os.cpu_count()} CPU cores")
    lines.append(f"PyTorch {torch.__version__}, NumPy {np.__version__}, Pillow {PIL.__version__}")
    if torch.cuda.is_available():
        names = ", ".join(torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count()))
        lines.append(f"CUDA {torch.version.cuda}: {names}")
    else:
        lines.append("CUDA: not available")
    return "\n".join(lines)
