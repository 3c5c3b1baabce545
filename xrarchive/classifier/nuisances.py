"""What else a classifier learns to see: view, sex, age and source of a film, none of which is a finding. Torch-free.

A radiograph set comes in, binary labels go out. *Why*: a guide that reads the view may raise a finding's logit by
turning the film into an AP one; with an output for the view the search can tell, and hold it still.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from xrarchive.radiographs import RadiographSet


@dataclass(frozen=True)
class Nuisances:
    """Binary labels of N radiographs.

    Attributes:
        labels: float32 [N, J], 1, 0 or NaN for unknown.
        positive: By name in column order, what 1 stands for: "AP", "M", the least age in years; a source is not
            named, since it may be a hospital.
    """

    labels: npt.NDArray[np.float32]
    positive: dict[str, str | int]

    @property
    def names(self) -> tuple[str, ...]:
        """The J names."""
        return tuple(self.positive)


def read_nuisances(radiographs: RadiographSet, rows: npt.NDArray[np.int64], min_positives: int) -> Nuisances:
    """The nuisances of `rows`; one is left out unless each of its values has `min_positives` films."""
    columns: list[npt.NDArray[np.float32]] = []
    positive: dict[str, str | int] = {}
    for name, meaning, labels in _candidates(radiographs, rows):
        if min((labels == 1).sum(), (labels == 0).sum()) >= min_positives:
            columns.append(labels)
            positive[name] = meaning
    empty = np.empty((len(rows), 0), np.float32)
    return Nuisances(np.stack(columns, axis=1) if columns else empty, positive)


def _candidates(
    radiographs: RadiographSet, rows: npt.NDArray[np.int64]
) -> list[tuple[str, str | int, npt.NDArray[np.float32]]]:
    ages, sources = radiographs.ages[rows], radiographs.sources[rows]
    found: list[tuple[str, str | int, npt.NDArray[np.float32]]] = [
        ("view", "AP", _binary(radiographs.views[rows], "AP", "PA")),
        ("sex", "M", _binary(radiographs.sexes[rows], "M", "F")),
    ]
    if (known := ~np.isnan(ages)).any():
        median = int(np.ceil(np.median(ages[known])))
        found.append(("age", median, np.where(known, ages >= median, np.nan).astype(np.float32)))
    if (sources != "").any():
        names, counts = np.unique(sources[sources != ""], return_counts=True)
        commonest = str(names[counts.argmax()])
        found.append(
            ("source", "the commonest", _binary(sources, commonest, *(name for name in names if name != commonest)))
        )
    return found


def _binary(words: npt.NDArray[np.str_], one: str, *zeros: str) -> npt.NDArray[np.float32]:
    """float32 [N]: 1 for `one`, 0 for one of `zeros`, else NaN."""
    labels = np.full(len(words), np.nan, np.float32)
    labels[np.isin(words, zeros)] = 0
    labels[words == one] = 1
    return labels
