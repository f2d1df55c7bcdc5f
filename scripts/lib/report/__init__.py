"""Tables, charts and a page from results.json files alone (scripts/report.py is the command line).

    runs, warnings = load(["output"])              runs.py: results.json files; a run is a dictionary
    values = values_of(runs, metrics)              one frame; with_averages, summarise: mean and spread over seeds
    arrange(title, with_words(...)).render(form)   table.py: words, notes, layouts as data, and one pivot

variants.py numbers runs that differ in more than the seed; pairs.py has differences; plots.py charts; page.py a page.
Papers are data: configs/papers/<paper>/table<n>.yaml (paper.py), and names.yaml there. Nothing here needs PyTorch.
"""
