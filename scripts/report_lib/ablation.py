"""The paper's Tables 4 to 6: variants of CoOp + SHIP, averaged over datasets.

Variants are configurations: beside <cfg>.yaml (the method as it is) there is <cfg>_<variant>.yaml, for example
miniclip_gan_mlp.yaml; configs/paper/table4.yaml to table6.yaml say which variant is which row."""

from collections.abc import Sequence

from .by_metric import h_notes, shots_title
from .groups import Group, average
from .methods import backbone_title
from .paper import PaperRow, dataset_rank, is_papers_backbone, paper_table
from .stats import Cell, Stat
from .table import Column, Table


def ablation_tables(task, groups: Sequence[Group], stat: Stat, number: int) -> list[Table]:
    """One table for each <cfg> and number of shots that has at least one of the table's variants."""
    paper = paper_table(number)
    variants = [row.variant for row in paper.rows if row.variant]
    trainer = next(row.trainer for row in paper.rows if row.variant)
    found = {(group.config, group.shots) for group in groups if group.trainer == trainer}
    bases = {
        (config.removesuffix(f"_{variant}"), shots)
        for config, shots in found
        for variant in variants
        if config.endswith(f"_{variant}")
    }
    # miniclip_gan_mlp also ends in _mlp: "miniclip_gan" is a variant of miniclip, not a base
    bases = {(base, k) for base, k in bases if not any(base.endswith(f"_{v}") for v in variants)}
    return [_table(task, groups, stat, paper, base, shots) for base, shots in sorted(bases)]


def _table(task, groups, stat: Stat, paper, base: str, shots: int) -> Table:
    members = {row.method: _groups_of(row, groups, base, shots) for row in paper.rows}
    present = {method: found for method, found in members.items() if found}
    datasets = sorted(set.intersection(*(set(found) for found in present.values())), key=dataset_rank)
    shown = [group for found in present.values() for group in found.values()]
    columns = [Column("variant", number=False), Column("config", number=False), Column("seeds", number=False)]
    columns += [Column(metric) for metric in paper.metrics]
    rows = []
    for row in paper.rows:
        found = members[row.method]
        config = f"{base}_{row.variant}" if row.variant else base
        chosen = [found[dataset] for dataset in datasets if dataset in found]
        if not chosen:
            cells = [Cell(note=f"not run: {row.trainer}/{config}")] * len(paper.metrics)
            rows.append([row.method, config, "0", *cells])
            continue
        seeds = sorted({len(group.runs) for group in chosen})
        cells = [_cell(chosen, metric, stat, task.h_of) for metric in paper.metrics]
        rows.append([row.method, config, "-".join(map(str, seeds)), *cells])
        if is_papers_backbone({name for group in chosen for name in group.backbones}) and shots == paper.shots:
            rows.append(["  in the paper", "", "", *(Cell(row.values["average"][m]) for m in paper.metrics)])
    over = ", ".join(datasets) or "no dataset in common"
    title = (
        f"{paper.title} (the paper's Table {paper.number}), {shots_title(shots)} shots, {backbone_title(shown)}, "
        f"average over {over}: mean ± {stat.spread_name} over seeds, percent"
    )
    return Table(title, columns, rows, h_notes(task, stat))


def _cell(groups: Sequence[Group], metric: str, stat: Stat, h_of) -> Cell:
    return groups[0].cell(metric, stat, h_of) if len(groups) == 1 else average(groups, metric, stat, h_of)


def _groups_of(row: PaperRow, groups: Sequence[Group], base: str, shots: int) -> dict[str, Group]:
    config = f"{base}_{row.variant}" if row.variant else base
    return {g.dataset: g for g in groups if (g.trainer, g.config, g.shots) == (row.trainer, config, shots)}
