"""Damaged few-shot pickles, the same ones each time."""

import os
import random


def damaged(content, rng):
    """`content` (bytes) cut, flipped, repeated or overwritten somewhere."""
    data = bytearray(content)
    i, j = sorted(rng.sample(range(len(data)), 2))
    kind = rng.randrange(4)
    if kind == 0:
        data = data[: i + 1]
    elif kind == 1:
        data[i] ^= 1 << rng.randrange(8)
    elif kind == 2:
        data[i:i] = data[i:j][:1000]
    else:
        data[i : i + 4] = rng.choice([b"\xff\xff\xff\xff", b"\0\0\0\0", b"../x", rng.randbytes(4)])
    return bytes(data)


def files(folder):
    return {os.path.relpath(os.path.join(top, name), folder) for top, _, names in os.walk(folder) for name in names}


def test_few_shot_pickles(load, caltech):
    """A damaged one gives way to the draw, and stays as it is."""
    rng, first = random.Random(0), load("Caltech101", caltech, 4)
    path, before = caltech / "caltech-101" / "split_fewshot" / "shot_4-seed_1.pkl", files(caltech)
    good, drawn = path.read_bytes(), [d.impath for d in first.train_x]
    for _ in range(60):
        content = damaged(good, rng)
        path.write_bytes(content)
        data = load("Caltech101", caltech, 4)
        assert data.fewshot_source != "sampled" or [d.impath for d in data.train_x] == drawn
        assert len(data.train_x) == len(drawn) and all(d.impath.startswith(data.image_dir) for d in data.train_x)
        assert files(caltech) == before and path.read_bytes() == content
