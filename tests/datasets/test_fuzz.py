"""Some 600 damaged inputs, the same ones each time: every one is either read or refused with a UserError, and nothing
half-written stays.
"""

import io
import json
import os
import pickle
import random
import tarfile
import zipfile

import numpy as np
import pytest
from dassl.data.datasets import Datum
from dassl.utils import UserError, read_image
from PIL import Image
from safetensors.numpy import save_file
from scipy.io import savemat

from datasets.core import sampling
from datasets.core.splits import read_split
from datasets.prepare import unpack

ODD = [
    None,
    True,
    -1,
    3.5,
    10**30,
    "",
    " ",
    "..",
    "../../x",
    "/etc/passwd",
    "a\0b",
    "a\nb",
    "\ud800",
    "é",
    [],
    {},
    [[]],
    "x" * 5000,
    float("nan"),
]


def damaged(content, rng):
    """`content` (bytes) cut, flipped, repeated, shuffled or overwritten somewhere."""
    data = bytearray(content)
    for _ in range(rng.choice([1, 1, 2, 8])):
        i, j = sorted((rng.randrange(len(data) + 1), rng.randrange(len(data) + 1)))
        kind = rng.randrange(6)
        if kind == 0:
            data = data[:i]
        elif kind == 1 and data:
            data[min(i, len(data) - 1)] ^= 1 << rng.randrange(8)
        elif kind == 2:
            data[i:i] = data[i:j][:1000]
        elif kind == 3:
            del data[i : i + rng.randrange(20)]
        elif kind == 4:
            data[i : i + 4] = rng.choice([b"\xff\xff\xff\xff", b"\0\0\0\0", b"../x", b"\x80\x04", rng.randbytes(4)])
        else:
            data[i:j] = data[i:j][::-1]
        data = data or bytearray(b"\0")
    return bytes(data)


def files(folder):
    return {os.path.relpath(os.path.join(top, name), folder) for top, _, names in os.walk(folder) for name in names}


def read_or_refuse(act):
    """True if `act` worked, False if it said why not; any other exception fails the test."""
    try:
        act()
    except UserError as error:
        assert str(error) and "Traceback" not in str(error)
        return False
    return True


def odd_split(raw, rng):
    """The decoded split with odd values in odd places."""
    raw = json.loads(json.dumps(raw))
    for _ in range(rng.choice([1, 1, 3])):
        part = rng.choice(["train", "val", "test"])
        items = raw.get(part)
        if not isinstance(items, list) or not items:
            continue
        kind, i = rng.randrange(7), rng.randrange(len(items))
        if kind == 0:
            raw[part] = rng.choice(ODD)
        elif kind == 1:
            items[i] = rng.choice(ODD)
        elif kind == 2 and isinstance(items[i], list) and items[i]:
            items[i][rng.randrange(len(items[i]))] = rng.choice(ODD)
        elif kind == 3 and isinstance(items[i], list):
            items[i] = items[i][: rng.randrange(3)]
        elif kind == 4:
            del raw[part]
        elif kind == 5:
            items.append(items[i])
        elif isinstance(items[i], list) and len(items[i]) > 1:
            items[i][1] = rng.randrange(-3, 9)
    return raw


@pytest.mark.parametrize("seed", range(4))
def test_splits(load, caltech, seed):
    rng = random.Random(seed)
    path = caltech / "caltech-101" / "split_zhou_Caltech101.json"
    good, before = path.read_bytes(), files(caltech)
    refused = 0
    for case in range(40):
        if case % 2:
            path.write_bytes(damaged(good, rng))
        else:
            path.write_bytes(json.dumps(odd_split(json.loads(good), rng)).encode())
        refused += not read_or_refuse(lambda: load("Caltech101", caltech))
        assert files(caltech) == before
    assert refused > 20


@pytest.mark.parametrize("seed", range(3))
def test_pickles(load, caltech, seed, capsys):
    rng = random.Random(seed)
    first = load("Caltech101", caltech, 4)
    path, before = caltech / "caltech-101" / "split_fewshot" / "shot_4-seed_1.pkl", files(caltech)
    good = path.read_bytes()
    whole = pickle.loads(good)
    for case in range(40):
        if case % 3:
            content = damaged(good, rng)
        else:
            item = rng.choice(whole["train"])
            setattr(
                item,
                rng.choice(["_impath", "_label", "_domain", "_classname"]),
                rng.choice([*ODD[:14], Datum("x"), {"y"}]),
            )
            content = pickle.dumps(
                rng.choice([whole, whole["train"], {"train": item}, {"train": [item], "val": None}, item, 7]),
                rng.randrange(6),
            )
        path.write_bytes(content)
        data = load("Caltech101", caltech, 4)
        train = sorted(d.impath for d in data.train_x)
        assert len(train) == len(first.train_x)
        assert data.fewshot_source == "sampled" or "ignored" not in capsys.readouterr().out
        assert all(d.impath.startswith(data.image_dir) for d in data.train_x)
        if data.fewshot_source == "sampled":
            assert train == sorted(d.impath for d in first.train_x)
        assert files(caltech) == before and path.read_bytes() == content


@pytest.mark.parametrize(
    "content",
    [b"\x80\x04}r\xff\xff\xff\x3f.", b"}p999999999\n.", b"\x80\x04\x8e" + (1 << 40).to_bytes(8, "little") + b"x."],
)
def test_pickles_that_would_take_gigabytes(tmp_path, caltech, content):
    split = read_split(caltech / "caltech-101" / "split_zhou_Caltech101.json")
    (tmp_path / "a.pkl").write_bytes(content)
    with pytest.raises(UserError, match="few-shot pickle .* is refused"):
        sampling.read_pickle(str(tmp_path / "a.pkl"), split, 4)


@pytest.mark.parametrize("kind", ["tar", "tar.gz", "tar.bz2", "zip"])
def test_archives(tmp_path, monkeypatch, kind):
    monkeypatch.setattr(unpack, "FREE_BYTES", 1_000_000)
    rng, buffer = random.Random(kind), io.BytesIO()
    entries = {f"images/{i:03d}.jpg": rng.randbytes(rng.randrange(3000)) for i in range(12)}
    if kind == "zip":
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as pack:
            for name, content in entries.items():
                pack.writestr(name, content)
    else:
        with tarfile.open(fileobj=buffer, mode="w:" + kind.partition(".")[2]) as tar:
            for name, content in entries.items():
                info = tarfile.TarInfo(name)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    work = tmp_path / "work"
    work.mkdir()
    for case in range(40):
        (work / "archive").write_bytes(damaged(buffer.getvalue(), rng))
        read_or_refuse(lambda case=case: unpack.unpack(str(work / "archive"), str(work / f"out{case}")))
        assert sum((work / f"out{case}" / name).stat().st_size for name in files(work / f"out{case}")) < 2_000_000
    assert {path.name for path in tmp_path.iterdir()} == {"work"}
    assert {path.name for path in work.iterdir()} == {"archive", *(f"out{case}" for case in range(40))}
    assert not any(path.is_symlink() for path in work.rglob("*"))


@pytest.mark.parametrize("suffix", ["jpg", "png", "gif"])
def test_images(tmp_path, suffix):
    """What reads images names the one that does not decode; some damage still decodes."""
    rng = random.Random(suffix)
    path = tmp_path / f"image.{suffix}"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 40, 3), np.uint8)).save(path)
    good, refused = path.read_bytes(), 0
    for _ in range(30):
        path.write_bytes(damaged(good, rng))
        try:
            read_image(str(path))
        except UserError as error:
            refused += 1
            assert str(path) in str(error)
    assert refused > 3


def test_banks(load, caltech, tmp_path):
    rng, path = random.Random(0), tmp_path / "bank.safetensors"
    header = {
        "format": "ship-bank-1",
        "dataset": "Caltech101",
        "split": (caltech / "caltech-101" / "split_zhou_Caltech101.json").read_text(),
    }
    save_file({"train.features": np.zeros((62, 4), np.float16)}, path, header)
    good = path.read_bytes()
    for _ in range(40):
        path.write_bytes(damaged(good, rng))
        read_or_refuse(lambda: load("Caltech101", "", 4, bank=path))
        assert set(os.listdir(tmp_path)) == {"DATA", "bank.safetensors"}


NAME_LISTS = {
    "FGVCAircraft": ("fgvc_aircraft/variants.txt", "fgvc_aircraft/images_variant_train.txt"),
    "UCF101": ("ucf101/ucfTrainTestlist/classInd.txt", "ucf101/ucfTrainTestlist/trainlist01.txt"),
    "SUN397": ("sun397/ClassName.txt", "sun397/Testing_01.txt"),
    "OxfordPets": ("oxford_pets/annotations/trainval.txt",),
    "OxfordFlowers": ("oxford_flowers/cat_to_name.json", "oxford_flowers/imagelabels.mat"),
    "ImageNet": ("imagenet/classnames.txt",),
    "FLO": ("oxford_flowers/setid.mat", "xlsa17/data/FLO/att_splits.mat"),
}


@pytest.fixture
def many(tmp_path, images):
    """A root with small datasets that are read from lists."""

    def lines(path, rows):
        path = tmp_path / path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(rows) + "\n")

    lines("fgvc_aircraft/variants.txt", ["707-320", "F/A-18"])
    for part, start in (("train", 0), ("val", 10), ("test", 20)):
        lines(
            f"fgvc_aircraft/images_variant_{part}.txt",
            [f"{start + i} {name}" for i, name in enumerate(["707-320", "F/A-18"])],
        )
    images(tmp_path / "fgvc_aircraft" / "images", [f"{i}.jpg" for i in (0, 1, 10, 11, 20, 21)])
    lines("ucf101/ucfTrainTestlist/classInd.txt", ["1 Archery", "2 YoYo"])
    lines(
        "ucf101/ucfTrainTestlist/trainlist01.txt",
        [f"{a}/v_{i}.avi {n}" for n, a in ((1, "Archery"), (2, "YoYo")) for i in range(5)],
    )
    lines("ucf101/ucfTrainTestlist/testlist01.txt", ["Archery/v_9.avi", "YoYo/v_9.avi"])
    images(
        tmp_path / "ucf101" / "UCF-101-midframes",
        [f"{a}/v_{i}.jpg" for a in ("Archery", "Yo_Yo") for i in (0, 1, 2, 3, 4, 9)],
    )
    lines("sun397/ClassName.txt", ["/a/abbey", "/b/bar/indoor"])
    lines("sun397/Training_01.txt", [f"{a}/{i}.jpg" for a in ("/a/abbey", "/b/bar/indoor") for i in range(5)])
    lines("sun397/Testing_01.txt", [f"{a}/{i}.jpg" for a in ("/a/abbey", "/b/bar/indoor") for i in range(5, 7)])
    images(tmp_path / "sun397" / "SUN397", [f"{a}/{i}.jpg" for a in ("a/abbey", "b/bar/indoor") for i in range(7)])
    lines(
        "oxford_pets/annotations/trainval.txt",
        [f"{b}_{i} {n} 1 1" for n, b in ((1, "Pug"), (2, "Boxer")) for i in range(5)],
    )
    lines(
        "oxford_pets/annotations/test.txt",
        [f"{b}_{i} {n} 1 1" for n, b in ((1, "Pug"), (2, "Boxer")) for i in range(5, 7)],
    )
    images(tmp_path / "oxford_pets" / "images", [f"{b}_{i}.jpg" for b in ("Pug", "Boxer") for i in range(7)])
    lines("oxford_flowers/cat_to_name.json", ['{"1": "rose", "2": "lily"}'])
    images(tmp_path / "oxford_flowers" / "jpg", [f"image_{i:05d}.jpg" for i in range(1, 13)])
    savemat(tmp_path / "oxford_flowers" / "imagelabels.mat", {"labels": np.array([[1] * 6 + [2] * 6], np.uint8)})
    savemat(
        tmp_path / "oxford_flowers" / "setid.mat",
        {"trnid": [[1, 2, 3, 7]], "valid": [[4, 8]], "tstid": [[5, 6, 9, 10, 11, 12]]},
    )
    (tmp_path / "xlsa17" / "data" / "FLO").mkdir(parents=True)
    savemat(
        tmp_path / "xlsa17" / "data" / "FLO" / "att_splits.mat",
        {"trainval_loc": [[1], [2], [3]], "test_seen_loc": [[5]], "test_unseen_loc": [[4], [6]]},
    )
    lines("imagenet/classnames.txt", ["n01440764 tench", "n01443537 goldfish"])
    images(
        tmp_path / "imagenet" / "images",
        [f"{part}/{w}/{i}.jpg" for part in ("train", "val") for w in ("n01440764", "n01443537") for i in range(2)],
    )
    return tmp_path


@pytest.mark.parametrize("name", NAME_LISTS)
def test_name_lists_and_annotations(load, many, name):
    load(name, many)
    for made in many.rglob("split_*.json"):
        made.unlink()
    before, refused = files(many), 0
    for file in NAME_LISTS[name]:
        rng, path = random.Random(file), many / file
        good = path.read_bytes()
        for case in range(24):
            if case % 3 or file.endswith(".mat"):
                path.write_bytes(damaged(good, rng))
            else:
                rows = good.decode().splitlines()
                rows[rng.randrange(len(rows))] = str(rng.choice(ODD)).encode("utf-8", "replace").decode()
                path.write_text("\n".join(rows))
            refused += not read_or_refuse(lambda: load(name, many))
            for made in many.rglob("split_*.json"):
                read_split(made)  # what was kept is whole and valid
                made.unlink()
            assert files(many) == before
        path.write_bytes(good)
    assert refused > 5
