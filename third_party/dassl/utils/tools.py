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

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def set_random_seed(seed):
    """Seed Python, NumPy and PyTorch on every device."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def read_image(path):
    """Read an image file as an RGB PIL image; MissingFile or UnreadableImage, each with the path."""
    if not os.path.isfile(path):
        raise MissingFile(f"expected an image at {path}, found none")
    try:
        with Image.open(path) as image:
            return image.convert("RGB")
    except Exception as error:  # PIL's decoders raise OSError, SyntaxError, ValueError, struct.error, ...
        raise UnreadableImage(f"cannot read the image {path}: {error}") from error


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
