"""Tables, charts and a page from results.json files alone (scripts/report.py is the command line).

    runs, warnings = load(find(["output"]))        runs.py: what is damaged is named and skipped
    tables, more = build(runs, Options())          build.py -> pivot.py: layouts as data, over groups.py
    print(render(tables, "markdown"))              table.py: text, markdown, csv, latex; page.py: HTML

Papers are data too: configs/papers/<paper>/table<n>.yaml, and names.yaml there (paper.py).
Nothing here imports torch or the trainers: a report starts at once, on any machine that has the files.
"""


class ReportError(Exception):
    """Its message alone is shown to the user: `error: <message>`, exit code 2."""
