"""Files made to do harm, given to whatever reads files: none may be executed, hang, or end in a traceback."""

import os
import pickle
import struct
import zipfile

from .readers import READERS, given, remove

# {name: bytes}; files that are no bytes (a pipe, a folder, a link) are made below.
TEXTS = {
    "empty": b"",
    "a line": b"just words\n",
    "binary": bytes(range(256)) * 8,
    "no UTF-8": b"DATASET: {NAME: '\xe9'}\n",
    "two encodings": "SEED: 1".encode("utf-16"),
    "zeros": bytes(5000),
    "many lines": b"x\n" * 200_000,
    "one long line": b"x" * 3_000_000,
    "python": b"import os\nos.mkdir('{canary}')\n",
    "a YAML tag": b"!!python/object/apply:os.mkdir ['{canary}']\n",
    "a list that holds itself": b"a: &a [*a]\n",
    "aliases of aliases": b"a0: &a0 [x,x]\n"
    + b"".join(f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 9)}]\n".encode() for i in range(1, 12)),
    "brackets": b"[" * 50_000,
    "open bracket": b"a: [1\n",
    "a tab": b"OPTIM:\n\tLR: 1\n",
    "wrong types": b"SEED: [1, 2]\nOPTIM: 3\n",
    "unknown key": b"SEEDS: 3\n",
    "its own base": b"_BASE_: {self}\n",
    "a device as base": b"_BASE_: /dev/zero\n",
    "json of another kind": b"[1, 2]",
    "json without metrics": b'{"metrics": 3}',
    "json with names of wrong types": b'{"metrics": {"base": "high"}, "seed": [], "backbone": 3, "task": {}}',
    "a number of 5000 digits": b'{"metrics": {"base": ' + b"9" * 5000 + b"}}",
    "nested json": b'{"a":' * 20_000,
    "not a number": b'{"metrics": {"base": NaN}, "task": "base2new"}',
}


class Attack:
    """A pickle of it makes the folder `canary` when it is read in the usual way."""

    def __init__(self, canary):
        self.canary = canary

    def __reduce__(self):
        return os.mkdir, (self.canary,)


def pickles(canary):
    """{name: bytes} of pickles, bare and in an archive as PyTorch writes."""
    attack = pickle.dumps({"state_dict": Attack(canary), "epoch": 1, "train": [], "val": []}, protocol=2)
    return {
        "attack": attack,
        "truncated": attack[:20],
        "plain list": pickle.dumps([1, 2], protocol=2),
        "a high number": b"\x80\x02cmail\nroom\nq\x000}r" + struct.pack("<I", 1 << 29) + b".",
        "deep": b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b".",
        "a long text": b"\x80\x04\x8e" + struct.pack("<Q", 1 << 40) + b"abc.",
        "wrong entries": pickle.dumps({"state_dict": [1], "epoch": "one", "train": 3}, protocol=2),
        "names that are numbers": pickle.dumps({"state_dict": {1: 2}, "epoch": -1, "train": {1: 2}}, protocol=2),
    }


def write(path, name, canary):
    """Makes the hostile file `name` at `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    made, _, rest = name.partition(": ")
    if made == "pickle":
        path.write_bytes(pickles(str(canary))[rest])
    elif made == "archive":
        packed = rest == "larger unpacked"
        content = b"\x80\x02" + b"N0" * (20 << 20) + b"N." if packed else pickles(str(canary))[rest]
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED) as archive:
            for part, text in (("data.pkl", content), ("version", b"3\n"), ("byteorder", b"little")):
                archive.writestr(f"archive/{part}", text)
    elif name in TEXTS:
        path.write_bytes(TEXTS[name].replace(b"{canary}", bytes(canary)).replace(b"{self}", path.name.encode()))
    elif name == "a pipe":
        os.mkfifo(path)
    elif name == "a folder":
        path.mkdir()
    else:
        path.symlink_to({"a device": "/dev/zero", "a link to itself": path, "a link to nothing": "/nowhere"}[name])


SPECIAL = ("a pipe", "a folder", "a device", "a link to itself", "a link to nothing")


def names():
    stored = pickles("/nowhere")
    return [
        *TEXTS,
        *SPECIAL,
        *(f"{form}: {name}" for form in ("pickle", "archive") for name in stored),
        "archive: larger unpacked",
    ]


def hostile(lab, count, rng):
    """Each case: one hostile file, given to one reader."""
    cases = [(name, reader) for name in names() for reader in READERS]
    for name, reader in rng.sample(cases, min(count or len(cases), len(cases))):
        yield f"{reader}: {name}", lambda name=name, reader=reader: tried(lab, name, reader)


def tried(lab, name, reader):
    canary = lab.folder / f"executed-{lab.made}"

    def spoil(file):
        remove(file)
        write(file, name, canary)

    done, _ = given(lab, reader, spoil)
    if canary.exists() or done.fault:
        return "lost", done.fault or "executed"
    return ("refused", done.last) if done.code else ("survived", "")
