"""The names others use for what a report holds, so that their tables and ours can be read side by side.

CheXGenBench (arXiv 2505.10496; github.com/Raman1121/CheXGenBench at 9a201c1): `metrics/fid.py`, lines "results = {",
and `auc_macro` of `Downstream/Classification/downstream_classification.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from xrarchive.validation.measures import Measure, not_measured

_SQUEEZED = "theirs squeezes every image to 299 x 299 px before RAD-DINO, whose own size is 518 px"
_FID = "theirs is torchmetrics' over all images, without equal numbers or a floor, against MIMIC-CXR's test split"
_KID = "theirs is torchmetrics' with subsets as large as the set, against MIMIC-CXR's test split"
_PRDC = f"theirs is prdc's with k = 5 in RAD-DINO features of sets of any size; {_SQUEEZED}"

# Their name -> where a report has it, and what is done otherwise there.
CHEXGENBENCH: Mapping[str, tuple[tuple[str, ...], str]] = {
    "FID": (("fidelity", "inception", "frechet"), _FID),
    "FID (RadDino)": (("fidelity", "rad-dino", "frechet"), f"{_FID}; {_SQUEEZED}"),
    "KID": (("fidelity", "inception", "kid"), _KID),
    "KID (RadDino)": (("fidelity", "rad-dino", "kid"), f"{_KID}; {_SQUEEZED}"),
    "Precision": (("diversity", "spaces", "rad-dino", "precision"), _PRDC),
    "Recall": (("diversity", "spaces", "rad-dino", "recall"), _PRDC),
    "Density": (("diversity", "spaces", "rad-dino", "density"), _PRDC),
    "Coverage": (("diversity", "spaces", "rad-dino", "coverage"), _PRDC),
    "auc_macro": (
        ("utility", "macro", "tstr"),
        "theirs is of a larger network on 14 findings of MIMIC-CXR, whatever the number of images",
    ),
}


def peer_names(report: Mapping[str, Any]) -> dict[str, dict[str, Measure]]:
    """`names` of a report: by benchmark and their name `value`, `low`, `high`, `n`, `at` and `differs`.

    `at` is where the report has the whole measure, its keys joined by '/'; `differs` says what is done otherwise there,
    so why the two numbers are not one. What was not measured has the reason.

    Args:
        report: As `make_report` gives it, parts may be missing.
    """
    return {"CheXGenBench": {name: _named(report, *where) for name, where in CHEXGENBENCH.items()}}


def _named(report: Mapping[str, Any], keys: tuple[str, ...], differs: str) -> Measure:
    found: Any = report
    at = {"at": "/".join(keys), "differs": f"{differs[0].upper()}{differs[1:]}."}
    for depth, key in enumerate(keys):
        if not isinstance(found, Mapping) or key not in found:
            reason = f"This report has no {'/'.join(keys[: depth + 1])}."
            return not_measured(reason) | at
        found = found[key]
    if found.get("value") is None:
        return not_measured(str(found.get("reason", "It was not measured."))) | at
    return {key: found.get(key) for key in ("value", "low", "high", "n")} | at
