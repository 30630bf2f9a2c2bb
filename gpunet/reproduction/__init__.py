"""Both course reports, reproduced: every experiment that they tell of, over many seeds, beside every figure they print;
and what they name as future work.

    printed.py         a figure as a report prints it, and the networks that it is a figure of
    pytorch_report.py  what the PyTorch report prints: Tables 1 to 5, and what stands in its text
    numpy_report.py    what the NumPy report prints: its three studies and the three repeats
    beyond.py          the ideas beyond the reports, and the models that they set out from
    reports.py         all of it, and the trainings it takes
    quantities.py      what is measured of trained networks
    running.py         training it all, with Ctrl-C keeping what is done
    findings.py        ours beside theirs: mean, standard deviation, 95 % prediction interval
    gains.py           what each idea brings, seed by seed beside the model that it sets out from
    best_model.py      which of the PyTorch report's models is the best
    figures.py         the figures
    gains_figure.py    one more: the gain of each idea
    blocks.py          a page as a list of blocks, rendered as HTML and as Markdown
    page.py            the page
    artifacts.py       its folder: the page, every figure as PNG, every number as CSV and JSON
    progress.py        what the console shows meanwhile

Whether a reported figure lies inside the interval of ours is said for `signs` alone, the reports' own images: of any
other images it would be no evidence of anything.
"""
