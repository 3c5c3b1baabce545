"""Look through an archive: one page with pictures, filters and provenance inside, for any browser, offline.

    selecting   which images the page holds, if not all of them
    content     their rows, as the page's program reads them
    page        the file: frame, style, program (`page/`), pictures and rows

*Why one file*: it can be kept beside the archive, sent and opened anywhere, and its policy lets it reach nothing. What
that costs is said on the page: of an archive whose pictures are more than `selecting.PAGE_BYTES`, it holds as many as
fit, drawn evenly over the labels; `where` chooses others.
"""
