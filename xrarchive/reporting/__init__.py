"""Reports as one self-contained page: what was measured comes in as a dict, HTML that needs nothing else goes out.

    blocks.py      what a page is made of: sections of tables, figures, pictures and text
    plots.py       numbers to figures: dots with whiskers, heat maps, histograms, curves, as inline SVG
    page.py        blocks to HTML: frame, style, content security policy
    measures.py    measures of a report to tables and rows of figures
    sheets.py      images to contact sheets
    validation.py  validation.json to a page, with parts.py

The first three know nothing of validation. Nothing here draws a number of its own: all come from the report.
"""
