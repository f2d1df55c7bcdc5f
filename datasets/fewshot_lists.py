"""The few-shot selections that come with the project, so that everyone trains on the same images.

`fewshot/<Reader>-<split hash>-seed<s>.txt` holds, per number of shots, the training and validation images that
`sampling.draw` takes from the split of that hash: a section header `[16 train]`, then a line for each class, its images
in the order drawn. Images of one class share most of their path, so a line reads `Faces/image_{0274,0339}.jpg`.
scripts/fewshot_lists.py writes the files from CoOp's split files.
"""

import os
import re

from dassl.utils import UserError, atomic_path

from . import sampling
from .files import read_lines
from .splits import by_label

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "fewshot")
SHOTS = (1, 2, 4, 8, 16)
SEEDS = (1, 2, 3)


def list_path(name, hash_of_split, seed):
    return os.path.join(FOLDER, f"{name}-{hash_of_split}-seed{seed}.txt")


def find(name, hash_of_split, seed, shots):
    """Path of the list for a reader's split, '' where there is none."""
    path = list_path(name, hash_of_split, seed)
    return path if shots in SHOTS and os.path.exists(path) else ""


def read(path, split, shots):
    """(train, val) items of a list, which must belong to `split`. Raises UserError."""
    sections, lines = {}, None
    for line in read_lines(path):
        if line.startswith("#"):
            continue
        if line.startswith("["):
            lines = sections.setdefault(line.strip("[]"), [])
        elif lines is None:
            raise UserError(f"{path} is damaged: {line!r:.80} stands before any section")
        else:
            lines.append(line)
    chosen = []
    for part in ("train", "val"):
        known = {item.path: item for item in getattr(split, part)}
        paths = [name for line in sections.get(f"{shots} {part}", []) for name in expand(line)]
        unknown = [name for name in paths if name not in known]
        if unknown:
            raise UserError(f"{path} is damaged: {unknown[0]!r:.80} is not in the split")
        chosen.append([known[name] for name in paths])
    if not chosen[0]:
        raise UserError(f"{path} is damaged: it has no section [{shots} train]")
    sampling.check_selection(*chosen, split, shots, path)
    return chosen


def write(split, path, seed, title):
    """Writes the list of `split` for one seed and all of SHOTS, atomically."""
    lines = [f"# {title}, seed {seed}: few-shot images as CoOp draws them; written by scripts/fewshot_lists.py"]
    for shots in SHOTS:
        for part, items in zip(("train", "val"), sampling.draw(split, shots, seed), strict=True):
            lines.append(f"[{shots} {part}]")
            lines += [compact([item.path for item in group]) for group in by_label(items).values()]
    with atomic_path(path) as temporary, open(temporary, "w", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")


def compact(paths):
    """One line for several paths: what they share, around the parts that differ in braces."""
    if any(mark in path for path in paths for mark in "{},") or paths[0][0] in "[#":
        raise UserError(f"a path with a brace or comma, or one that starts with [ or #, cannot be listed: {paths[0]!r}")
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
