"""Damaged files: a byte or a bit changed, a lost end, a block of zeros in whatever a program reads."""

from .readers import READERS, given


def corruption(lab, count, rng):
    """Each case: one file damaged, and read. Right is the clean run's result, an error, or a rebuild that is said."""
    targets = [name for name, (_, place, _) in READERS.items() if not place.startswith("{case}")]
    for i in range(count or 300):
        reader = targets[(i + rng.randrange(len(targets))) % len(targets)] if count else targets[i % len(targets)]
        yield reader, lambda reader=reader: damaged(lab, reader, rng)


def damaged(lab, reader, rng):
    def spoil(file):
        file.write_bytes(spoilt(file.read_bytes(), rng))

    if reader not in lab.clean:
        lab.clean[reader] = given(lab, reader, lambda file: None)[1]
    done, found = given(lab, reader, spoil)
    if done.fault:
        return "lost", done.fault
    if done.code:
        return "refused", done.last
    same = found == lab.clean[reader]
    return ("survived", "") if same else ("lost", f"{found} instead of {lab.clean[reader]}"[:300])


def spoilt(good: bytes, rng) -> bytes:
    kind, place, bad = rng.choice(("end", "byte", "bit", "zeros")), rng.randrange(len(good)), bytearray(good)
    if kind == "end":
        return good[:place]
    if kind == "zeros":
        bad[place : place + 64] = bytes(len(bad[place : place + 64]))
    else:
        bad[place] ^= rng.randrange(1, 256) if kind == "byte" else 1 << rng.randrange(8)
    return bytes(bad)
