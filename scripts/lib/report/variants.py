"""Seeds share a row where their runs differ in the seed alone. The others are numbered, and a footnote says in what."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable

from .runs import differing, fact, group_runs

BY_DATASET = ("images", "classnames", "split", "template")  # facts with other values for each data set
SPELLED = 4  # differences that a footnote spells out


def number_variants(group: list[dict], keys: set[str], mix: bool):
    """Makes the configurations of runs that differ in `keys` "cfg", "cfg #2", ..., the same on all data sets, with a
    note of what differs. With `mix` they share a row, which says so; but runs whose seed was drawn stand apart."""
    keys = keys & {"seed"} if mix else keys
    cells = group_runs(group, "dataset", "shots").values()
    for cell in cells:
        for run in cell:
            run["signature"] = tuple(signature(run, cell, keys))
    counts = Counter(run["signature"] for run in group)
    # the first are runs with given seeds and recorded options, then those that are most
    order = sorted(counts, key=lambda one: ("drawn" in one, "not recorded" in one, -counts[one], one))
    for cell in cells:
        cell.sort(key=lambda run: order.index(run["signature"]))
        for run in cell:
            number = order.index(run["signature"])
            run["config"] += f" #{number + 1}" if number else ""
        for members in group_runs(cell, "config").values():
            one = members[0]
            unlike = describe([cell[0], one], differing([cell[0], one]) - {"seed"}, "config")
            mixed = describe(members, differing(members), "seed")
            notes = [f"{one['config']} differs in {unlike}" if unlike and one["config"] != cell[0]["config"] else ""]
            notes += [f"mixed: {mixed}" if mixed else "", one["note"]]
            for run in members:
                run["note"] = "; ".join(filter(None, notes))


def signature(run: dict, cell: list[dict], keys: set[str]) -> Iterable[str]:
    """The values of `keys`; a hash of data counts as the most frequent one of its data set, the next one and so on."""
    for key in sorted(keys):
        value = fact(run, key)
        if key in BY_DATASET:
            value = [one for one, _ in Counter(fact(other, key) for other in cell).most_common()].index(value)
        yield str(value)


def describe(runs: list[dict], keys: Iterable[str], label: str) -> str:
    """ "OPTIM.MAX_EPOCH (50: miniclip; 20: miniclip #2)" where `label` is "config"."""
    phrases = []
    for key in sorted(keys):
        users = defaultdict(list)
        for run in runs:
            value = str(run["facts"].get(key, "-"))
            users[value[:8] if re.fullmatch("[0-9a-f]{12,}", value) else f"{value:.40}"].append(f"{run[label]}")
        words = [f"{value}: {', '.join(dict.fromkeys(who))}" for value, who in users.items()]
        phrases.append(f"{key} ({'; '.join(words)})")
    return "; ".join(phrases[:SPELLED]) + (f"; and {len(phrases) - SPELLED} more" if len(phrases) > SPELLED else "")
