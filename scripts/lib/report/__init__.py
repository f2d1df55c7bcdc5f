"""Tables, charts and a page from results.json files alone (scripts/report.py is the command line).

    runs, warnings = load(["output"])              runs.py: results.json files; a frame with a line per run
    tables = tables_of(runs, options)              tables.py: which tables; numbers.py: means over seeds, differences
    tables[0].render("latex")                      table.py: words, notes, layouts as data, and one pivot

Runs that differ in more than the seed get rows of their own (runs.py). Papers are data: configs/papers/<paper>/
table<n>.yaml (paper.py), and names.yaml there. plots.py has charts and the page. Nothing here needs PyTorch.
"""
