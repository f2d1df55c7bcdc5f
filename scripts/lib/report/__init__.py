"""Tables, charts and a page from results.json files alone (scripts/report.py is the command line).

    runs, skipped = load(find(["output"]))         runs.py: what is damaged is named and skipped
    runs, doubts = sort_out(runs)                  apart.py: which runs share a row
    tables = build(runs, options)                  build.py -> pivot.py: layouts as data, over methods.py
    print(render(tables, "markdown"))              table.py: text, markdown, csv, latex; page.py: HTML

Papers are data too: configs/papers/<paper>/table<n>.yaml, and names.yaml there (paper.py).
Nothing here imports torch or the trainers: a report starts at once, on any machine that has the files.
"""
