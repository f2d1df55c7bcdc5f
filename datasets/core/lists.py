"""The few-shot selections that come with the project, so that everyone trains on the same images.

`fewshot/<Reader>-<split hash>-seed<s>.txt` holds, per number of shots, the training and validation images that
`sampling.draw` takes from the split of that hash: a section header `[16 train]`, then a line for each class, its images
in the order drawn. Images of one class share most of their path, so a line reads `Faces/image_{0274,0339}.jpg`. The
first line has the file's name and a digest of the others.
"""

import hashlib
import os
import re

from dassl.utils import UserError, read_text

FOLDER = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "fewshot")
SHOTS = (1, 2, 4, 8, 16)


def list_path(name, hash_of_split, seed):
    return os.path.join(FOLDER, f"{name}-{hash_of_split}-seed{seed}.txt")


def read(path, split, shots):
    """(train, val) items of the list of `split`. Raises UserError where the file was changed."""
    head, _, body = read_text(path, "a few-shot list").partition("\n")
    digest = hashlib.sha256(body.encode()).hexdigest()
    if not (head.startswith(f"# {os.path.basename(path)}:") and head.endswith(digest)):
        raise UserError(f"{path} is damaged: its lines do not match the digest in its first line; get it anew from git")
    parts = re.split(r"^\[(.+)\]\n", body, flags=re.MULTILINE)
    sections = dict(zip(parts[1::2], parts[2::2], strict=True))
    known = {item.path: item for item in split.train + split.val}
    chosen = []
    for part in ("train", "val"):
        lines = sections[f"{shots} {part}"].splitlines()
        chosen.append([known[name] for line in lines for name in expand(line)])
    return tuple(chosen)


def expand(line):
    """The paths of a line: what they share stands around braces with what differs."""
    match = re.fullmatch(r"([^{}]*)\{([^{}]*)\}([^{}]*)", line)
    return [match[1] + middle + match[3] for middle in match[2].split(",")] if match else [line]
