"""Tables, charts and a page from results.json files alone (scripts/report.py is the command line).

    runs, warnings = load(["output"])              runs.py: results.json files; a frame with a line per run
    values = values_of(with_rows(runs))            a number per run and metric; with_averages, summarise: over seeds
    arrange(title, with_words(...)).render(form)   table.py: words, notes, layouts as data, and one pivot

Runs that differ in more than the seed get rows of their own (runs.py); pairs.py has differences; plots.py charts;
page.py a page. Papers are data: configs/papers/<paper>/table<n>.yaml (paper.py), and names.yaml there. Nothing here
needs PyTorch.
"""
