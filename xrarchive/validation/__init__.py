"""Is an archive worth using? Arrays and a manifest come in, evidence goes out as one JSON-safe report.

    features, scores, pixels -> fidelity, labels (agreement, purity), nuisances, duplicates -> report

Every measured number carries what is needed to judge it: an interval, N, a floor where one exists, and a sentence;
what could not be measured carries the reason in its place. Torch-free: features are computed left of the waist.
"""

# Of validation.json; a report of another one must be made again.
SCHEMA = "xrarchive.validation/2"
