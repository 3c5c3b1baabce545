"""Cards: the texts and pictures that go with a dataset or with weights, from what was measured. Torch-free.

In: an archive with its validation, a score of readers, the metadata in weight files. Out: README.md, SCORECARD.md,
croissant.json, CITATION.cff and samples/, or the card of a model repository.

    contents    what the rows hold, and images drawn by seed -> samples/*.png
    facts       everything above as one JSON; what it says, and nothing else, is in the texts
    dataset, scorecard, model, croissant, citation -> the texts, through templates
    writing     all of it into the archive

Templates live in `cards/`, beside the package in a checkout and inside it in a wheel, and may be copied and edited. An
unfilled slot is an error, never a gap in the card. `OWNER/NAME` and `vX.Y.Z` stand for what only `publish` knows and
puts in (`addressing.fill_in`).
"""
