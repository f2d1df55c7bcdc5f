"""Tables and charts from results.json files alone (scripts/report.py is the command line).

    runs.py      results.json -> Run; what is damaged is named and skipped
    groups.py    runs that differ by seed only -> Group; warns of runs that should not be compared
    stats.py     mean, deviation, the harmonic mean and its rule
    table.py     Table -> text, Markdown, CSV
    paper.py     the paper's tables (configs/paper/*.yaml)
    tasks.py     one entry a task: its metrics and its layouts (by_metric.py, pivot.py, ablation.py)
    compare.py   X + SHIP against X per seed; seconds per stage
    plots.py     bar charts and few-shot curves

Nothing here imports torch or the trainers: a report starts at once, on any machine that has the files.
"""


class ReportError(Exception):
    """Its message alone is shown to the user: `error: <message>`, exit code 2."""
