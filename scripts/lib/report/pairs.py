"""What plug-ins change: X + plug-in minus X, seed by seed."""

from argparse import Namespace

import pandas as pd

from .runs import PLACE, differing, summarise
from .table import with_words
from .variants import describe


def simpler(row: dict, rows: list[dict]) -> list[int]:
    """The same method with one plug-in less, and without any: of the same configuration, or the only one."""
    method, *plugins = row["parts"]
    fewer = {tuple(name for name in plugins if name != one) for one in plugins} | ({()} if plugins else set())
    found = []
    for names in sorted(fewer, key=lambda names: (-len(names), names)):
        alike = {**row, "parts": (method, *names)}
        same = [i for i, one in enumerate(rows) if all(one[k] == alike[k] for k in ("parts", "backbone", "source"))]
        found += [i for i in same if rows[i]["config"] == row["config"]] or same * (len(same) == 1)
    return found


def paired(values: pd.DataFrame, rows: list[dict], runs: list[dict], options: Namespace) -> pd.DataFrame | None:
    """Cells of X + plug-in minus X for each seed that both have, and their mean; None where there is no pair."""
    pairs, found, members = [], {}, []
    for i, j in ((i, j) for i, row in enumerate(rows) for j in simpler(row, rows)):
        both = [next(run for run in runs if run["row"] == row) for row in (j, i)]
        keys = {key for key in differing(both) if not key.startswith(("TRAINER.", "classnames"))}
        notes = [rows[i]["line_note"], f"they differ too in {describe(both, keys, 'trainer')}" if keys else ""]
        title = f"{rows[i]['trainer']} - {rows[j]['trainer']}"
        found[len(pairs)] = (values.xs(i) - values.xs(j)).dropna(how="all")
        members += [{**run, "row": len(pairs)} for run in runs if run["row"] == i]
        words = {"difference": title, "line_note": "; ".join(filter(None, notes)), "to": rows[j]["method"], "ours": i}
        pairs.append({**rows[i], **words})
    if not any(map(len, found.values())):
        return None
    each = pd.concat(found, names=["row"])
    seeds = each.stack().rename("mean").rename_axis([*PLACE, "seed", "metric"]).reset_index()
    means = summarise(each, options.ci95, True).assign(seed="mean", turn=float("inf"))
    cells = with_words(pd.concat([seeds.assign(turn=seeds["seed"], count=1), means]), pairs, members, list(values))
    return cells.assign(note="", plus=True)
