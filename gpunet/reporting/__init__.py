"""What a run shows and leaves behind: progress and summary on the console, files in its folder.

    facts.py        what console, figures and report.html say alike: the data's origin, the comparison with the report
    environment.py  versions and device
    progress.py     while a run trains
    summary.py      plain text at its end
    artifacts.py    the run's folder: model, metrics.json, history.csv, figures, report.html
    figures.py      the figures
    html.py         report.html
    seeds_*.py      the same four of a run with many seeds: means, spread, bands

matplotlib and rich are imported where they are used.
"""
