"""Which runs share a row: those that differ in their seed alone. Copies do not count, and doubts are said."""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from ..run import UserError
from .runs import Run

ROW = ("task", "source", "dataset", "shots", "trainer", "config")  # the names of a run but for its seed
DIGESTS = ("images", "classnames", "split")  # other ones for each data set
MOST = 4  # differences that a footnote spells out


def sort_out(runs: Sequence[Run], mix: bool = False) -> tuple[list[Run], list[str]]:
    """The runs that count, sorted, with their kinds, and warnings. Of two results of one run the newer file counts.

    With `mix`, runs that differ in more than their seed share a row all the same, which says so. Unseeded runs never
    share one with seeded runs. Raises UserError where no run is left.
    """
    runs, warnings = _without_copies(runs)
    if not runs:
        raise UserError("no run is left to report:\n" + "\n".join(warnings))
    found: dict = {}
    for run in sorted(_kinds(runs, mix), key=lambda run: (run.path.stat().st_mtime_ns, str(run.path))):
        key = (*(getattr(run, name) for name in ROW), run.kind, run.seed)
        if key in found:
            warnings.append(f"two results of the same run: using {run.path}, not {found[key].path}")
        found[key] = run
    kept = [found[key] for key in sorted(found)]
    return kept, warnings + _compare(kept)


def _without_copies(runs: Iterable[Run]) -> tuple[list[Run], list[str]]:
    """Leaves out runs in the folder of another seed, and those that equal another seed's in all that is measured."""
    kept, warnings = [], []
    for _, mine in split(runs, *ROW):
        known: dict = {}
        for run in sorted(mine, key=lambda run: (_is_moved(run), run.seed, str(run.path))):
            measured = tuple(sorted((run.identity or run.costs).items()))
            first = known.setdefault((tuple(run.metrics.items()), measured), run) if measured else run
            if _is_moved(run):
                copy = f"; it is a copy of {first.path}" if first is not run else ""
                warnings.append(f"{run.path} is of seed {run.seed} by what it holds: not counted{copy}")
            elif first.seed != run.seed:
                warnings.append(f"{run.path} is a copy of {first.path} with another seed: not counted")
            else:
                kept.append(run)
    return kept, warnings


def _is_moved(run: Run) -> bool:
    seed = re.fullmatch(r"seed(\d+)", run.path.absolute().parent.name)
    return bool(seed) and int(seed[1]) != run.seed


def _kinds(runs: Iterable[Run], mix: bool) -> list[Run]:
    """Runs of equal names that differ in more than the seed become "", "#2", ...: the same one on all data sets."""
    found = []
    for _, group in split(runs, "task", "source", "trainer", "config"):
        cells = [mine for _, mine in split(group, "dataset", "shots")]
        keys = set() if mix else set().union(*map(differing, cells))
        keys |= {"seed"} if len({run.unseeded for run in group}) > 1 else set()
        kinds = {run.path: {key: _value(run, key, mine) for key in sorted(keys)} for mine in cells for run in mine}
        counts = Counter(map(str, kinds.values()))
        rank = {}  # unseeded runs and those of older versions are measured by the others
        for path, kind in kinds.items():
            old = kind.get("options", "recorded") != "recorded"
            rank[path] = kind.get("seed") == "drawn", old, -counts[str(kind)], str(kind)
        order = sorted(set(rank.values()))
        for mine in cells:
            mine = [replace(run, kind=f"#{n}" if (n := order.index(rank[run.path]) + 1) > 1 else "") for run in mine]
            first = min(mine, key=lambda run: rank[run.path])
            found += [replace(run, note=_footnote(run, first, mine, keys)) for run in mine]
    return found


def _footnote(run: Run, first: Run, cell: Sequence[Run], keys: set[str]) -> str:
    """How a run's kind differs from the first one, what was mixed in it, and that nobody gave its seed."""
    same = [other for other in cell if other.kind == run.kind]
    unlike = spelled([first, run], differing([first, run]) & keys - {"seed"}, lambda run: run.label)
    mixed = spelled(same, differing(same), lambda run: f"seed {run.seed}")
    notes = [f"{run.label} differs in {unlike}" * bool(unlike), f"mixed: {mixed}" * bool(mixed)]
    return "; ".join(filter(None, [*notes, "unseeded: the seed was drawn" * run.unseeded]))


def _value(run: Run, key: str, cell: Sequence[Run]) -> str:
    """A digest counts as the most frequent one of its data set, the next one and so on."""
    if key not in DIGESTS:
        return run.facts.get(key, "")
    order = [value for value, _ in Counter(other.facts.get(key, "") for other in cell).most_common()]
    return str(order.index(run.facts.get(key, "")))


def differing(runs: Sequence[Run]) -> set[str]:
    """In what these runs differ, as far as it was recorded."""
    keys = set().union(*(run.facts for run in runs))
    return {key for key in keys if len({run.facts.get(key) for run in runs if run.identity or key in run.facts}) > 1}


def spelled(runs: Sequence[Run], keys: Iterable[str], name: Callable[[Run], str]) -> str:
    """ "OPTIM.MAX_EPOCH (50: seed 1, seed 2; 20: seed 3); ..." where `name` gives "seed 1"."""
    said = []
    for key in sorted(keys):
        users = dict.fromkeys((_short(run.facts.get(key)), name(run)) for run in runs)
        said.append(f"{key} ({_users(users) or '...'})")
    return "; ".join(said[:MOST]) + f"; and {len(said) - MOST} more" * (len(said) > MOST)


def across(runs: Sequence[Run]) -> str:
    """A footnote to an average over data sets whose runs differ in more than the data; "" where they do not."""
    own = ("DATASET.", "RUN.", "few-shot", *DIGESTS)
    keys = {key for key in differing(runs) if not key.startswith(own)}
    recorded = any(run.identity for run in runs)
    return f"datasets differ in {spelled(runs, keys, lambda run: run.dataset)}" if keys and recorded else ""


def _short(value: str | None) -> str:
    if value is None:
        return "-"
    if re.fullmatch("[0-9a-f]{12,}", value):
        return value[:8]
    return value if len(value) <= 40 else f"{value[:37]}..."


def _compare(runs: Sequence[Run]) -> list[str]:
    """Warnings of runs on the same dataset and task that should not be compared, and of rows with other seeds."""
    warnings = []

    def warn(what: str, users: Iterable[tuple[str, str]]) -> None:
        if said := _users(users):
            warnings.append(f"{what} ({said})")

    for _, mine in split(runs, *ROW, "kind"):
        seeds = f"{mine[0].task} {mine[0].dataset} {mine[0].trainer}/{mine[0].label}: its seeds ran on different"
        warn(f"{seeds} commits of the code", [(run.commit, f"seed {run.seed}") for run in mine if run.commit])
        if len({run.backbone for run in mine}) > 1 or len({run.backbone_hash for run in mine if run.backbone_hash}) > 1:
            used = _listed(f"seed {run.seed}: {run.backbone} {run.backbone_hash[:8]}".rstrip() for run in mine)
            warnings.append(f"{seeds} backbones ({used})")
    for (task, _, dataset), mine in split(runs, "task", "source", "dataset"):
        for field, what in (("split_hash", "splits"), ("classnames_hash", "class names")):
            hashes = [(getattr(run, field)[:12], f"{run.trainer}/{run.label} seed {run.seed}") for run in mine]
            users = dict.fromkeys((value, who) for value, who in hashes if value)
            warn(f"{task} {dataset}: results of different {what} should not be compared", users)
        rows = split(mine, "shots", "trainer", "label")
        seeds = [(_listed(run.seed for run in row), f"{who}/{cfg} {shots} shots") for (shots, who, cfg), row in rows]
        warn(f"{task} {dataset}: rows have different seeds", seeds)
    return warnings


def _users(pairs: Iterable[tuple[str, str]]) -> str:
    """(value, who has it) -> "value: who, who; value: who"; "" where all have the same."""
    users = defaultdict(list)
    for value, name in pairs:
        users[value].append(name)
    more = {value: f" and {len(who) - 3} more" if len(who) > 3 else "" for value, who in users.items()}
    return "; ".join(f"{v}: {_listed(who[:3])}{more[v]}" for v, who in users.items()) if len(users) > 1 else ""


def _listed(items: Iterable) -> str:
    return ", ".join(map(str, items))


def split(runs: Iterable[Run], *names: str) -> list[tuple[tuple, list[Run]]]:
    """[(values of these fields, the runs that have them)], sorted."""
    found = defaultdict(list)
    for run in runs:
        found[tuple(getattr(run, name) for name in names)].append(run)
    return sorted(found.items())
