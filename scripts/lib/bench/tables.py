"""What was measured, as text, Markdown or a chart."""

from tabulate import tabulate

COLUMNS = {
    "tower": "{}",
    "names": "{}",
    "context": "{}",
    "plain": "{:.3g}",
    "ours": "{:.3g}",
    "ratio": "{:.1f}x",
    "ratio_without_images": "{:.1f}x",
    "floor": "{:.3g}",
    "reached": "{:.0%}",
    "epoch": "{:.3g}",
}
TITLES = {
    "plain": "plain, s",
    "ours": "ours, s",
    "ratio_without_images": "without images",
    "floor": "floor, s",
    "epoch": "our epoch, s",
}
PARTLY = "~"  # before seconds of the plain formulation that were measured on a part of the names


def shown(row: dict) -> dict:
    """The row with numbers as text."""
    found = {}
    for key, value in row.items():
        if key == "plain_measured_on" or value is None:
            continue
        text = COLUMNS.get(key, "{:.3g}" if isinstance(value, float) else "{}").format(value)
        partly = key == "plain" and row.get("plain_measured_on", 1) < 1
        found[TITLES.get(key, key)] = (PARTLY if partly else "") + text
    return found


def table(rows: list[dict], markdown: bool) -> str:
    kind = "github" if markdown else "simple"
    return tabulate([shown(row) for row in rows], headers="keys", tablefmt=kind, disable_numparse=True)


def chart(found: dict[str, list[dict]], path: str):
    """Milliseconds of a step against the number of names, a panel a benchmark: ours, plain and the floor."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    panels = {name: rows for name, rows in found.items() if rows and "floor" in rows[0]}
    figure, axes = pyplot.subplots(1, len(panels), figsize=(4.2 * len(panels), 3.6), squeeze=False)
    for axis, (name, rows) in zip(axes[0], panels.items(), strict=True):
        lines = dict.fromkeys((row["tower"], row["context"]) for row in rows)
        for number, line in enumerate(lines):
            own = sorted((row for row in rows if (row["tower"], row["context"]) == line), key=lambda row: row["names"])
            for key, style in (("plain", "--"), ("ours", "-"), ("floor", ":")):
                values = [1000 * row[key] for row in own]
                label = f"{line[0]}, context {line[1]}" if key == "ours" else None
                names = [row["names"] for row in own]
                axis.plot(names, values, style, color=f"C{number}", label=label, marker=".")
        axis.set(title=name, xscale="log", yscale="log", xlabel="names", ylabel="ms a step")
    axes[0][0].legend(fontsize=7, title="-- plain, : arithmetic floor", title_fontsize=7)
    figure.tight_layout()
    figure.savefig(path, dpi=130)
