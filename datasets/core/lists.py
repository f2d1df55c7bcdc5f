"""The few-shot selections that come with the project, so that everyone trains on the same images.

`fewshot/<Reader>-<split hash>-seed<s>.txt` holds, per number of shots, the training and validation images that
`sampling.draw` takes from the split of that hash: a section header `[16 train]`, then a line for each class, its images
in the order drawn. Images of one class share most of their path, so a line reads `Faces/image_{0274,0339}.jpg`. The
first line has the file's name and a digest of the others. scripts/fewshot_lists.py writes the files.
"""

import hashlib
import os
import re

from dassl.utils import UserError, read_text

from .sampling import draw
from .splits import by_label, split_hash

FOLDER = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "fewshot")
SHOTS = (1, 2, 4, 8, 16)
SEEDS = (1, 2, 3)


def list_path(name, hash_of_split, seed):
    return os.path.join(FOLDER, f"{name}-{hash_of_split}-seed{seed}.txt")


def read(path, split, shots):
    """(train, val) items of the list of `split`. Raises UserError where the file was changed."""
    text = read_text(path, "a few-shot list")
    body = text.partition("\n")[2]
    if text != with_header(os.path.basename(path), body):
        raise UserError(f"{path} is damaged: its lines do not match the digest in its first line; get it anew from git")
    parts = re.split(r"^\[(.+)\]\n", body, flags=re.MULTILINE)
    sections = dict(zip(parts[1::2], parts[2::2], strict=True))
    known = {item.path: item for item in split.train + split.val}
    chosen = []
    for part in ("train", "val"):
        lines = sections[f"{shots} {part}"].splitlines()
        chosen.append([known[name] for line in lines for name in expand(line)])
    return tuple(chosen)


def text_of(split, name, seed):
    """(path, text) of the list of `split`, which reader `name` reads, for one seed and all of SHOTS."""
    lines = []
    for shots in SHOTS:
        for part, items in zip(("train", "val"), draw(split, shots, seed), strict=True):
            lines.append(f"[{shots} {part}]")
            lines += [compact([item.path for item in group]) for group in by_label(items).values()]
    path = list_path(name, split_hash(split), seed)
    return path, with_header(os.path.basename(path), "\n".join(lines) + "\n")


def with_header(name, body):
    """`body` under the line that a list called `name` must begin with."""
    digest = hashlib.sha256(body.encode()).hexdigest()
    return f"# {name}: few-shot images as CoOp draws them; sha256 of the lines below: {digest}\n{body}"


def compact(paths):
    """One line for several paths, which have no brace or comma: what they share, around what differs in braces."""
    if len(paths) == 1:
        return paths[0]
    start = os.path.commonprefix(paths)
    rest = [path[len(start) :] for path in paths]
    end = os.path.commonprefix([text[::-1] for text in rest])[::-1]
    return f"{start}{{{','.join(text[: len(text) - len(end)] for text in rest)}}}{end}"


def expand(line):
    """The paths of a line."""
    match = re.fullmatch(r"([^{}]*)\{([^{}]*)\}([^{}]*)", line)
    return [match[1] + middle + match[3] for middle in match[2].split(",")] if match else [line]
