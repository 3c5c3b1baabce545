"""Which images are too near to one film? Distances come in, measures with the ids of those images go out.

A copy is flagged below a distance that no held-out film came near. A person is recognised below the distance at which
1 % of held-out films are flagged, each after its nearest of the whole gallery: what chance alone flags is then known.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from xrarchive.estimates import Estimate, bootstrap_estimates, weighted_mean
from xrarchive.validation.duplicates import LISTED_IDS
from xrarchive.validation.measures import Measure, measure, measure_estimate, not_measured, rounded
from xrarchive.validation.privacy.nearness import Nearness
from xrarchive.validation.privacy.search import Floats

# In the space of `films`: 0.15 is a correlation of 0.989. Measured at 64 px on MedNIST's chest films: of 1,500 copies
# (exact, mirrored, shifted by 4 px, 10 % more or less contrast, JPEG at quality 75 or 50) the farthest is at 0.136, of
# 1,999 held-out films the nearest to 7,662 training films at 0.163.
COPY_DISTANCE = 0.15

# What may be flagged of held-out films, and the fewest of them that can show it.
FLAGGED_SHARE = 0.01
HOLDOUT_NEEDED = 100

_UNSEEN_NOTE = "The share of held-out real films that is flagged in the same way."


def count_copies(image_ids: Sequence[str], distance: Floats, unseen: Floats | None) -> Measure:
    """Images that are a training film, as it is or shifted, mirrored, recompressed, with other contrast.

    Args:
        image_ids: [N].
        distance: float64 [N] to the nearest training film, in the space of `films`.
        unseen: float64 [H] of held-out films to theirs; None = there are none.
    """
    bound = COPY_DISTANCE
    floor = None
    if unseen is not None and len(unseen) >= HOLDOUT_NEEDED:
        bound = min(bound, flagging_distance(unseen))
        share = float(np.mean(unseen < bound))
        floor = {"value": rounded(share), "n": len(unseen), "note": _UNSEEN_NOTE}
    flagged = (distance < bound) | (distance == 0)
    return measure(
        int(flagged.sum()),
        n=len(distance),
        floor=floor,
        note=f"Images whose pixels, shifted by up to 4 px, mirrored and with contrast undone, are within {bound:.3g} "
        "of some training film: copies.",
        extra={"threshold": rounded(bound), "image_ids": _ids(image_ids, flagged)},
    )


def count_recognised(
    image_ids: Sequence[str],
    found: Nearness,
    *,
    pairs: Floats,
    pair_patients: npt.ArrayLike | None,
    copies: Mapping[str, Floats],
    patients_known: bool,
    seed: int,
) -> Measure:
    """Images in which the re-identification network recognises the person of a training film.

    Args:
        image_ids: [N].
        found: The search in the network's space.
        pairs: float64 [P], distances of held-out films of the same patient.
        pair_patients: [P], which patient.
        copies: Distances of planted copies to their originals, by kind.
        patients_known: Whether held-out films of the gallery's patients were left out.
        seed: Same seed, same intervals.
    """
    unseen = found.unseen.distance[:, 0]
    if len(unseen) < HOLDOUT_NEEDED:
        return not_measured(f"Only {len(unseen)} held-out films: the threshold needs {HOLDOUT_NEEDED} at least.")
    bound = flagging_distance(unseen)
    distance = found.training.distance[:, 0]
    flagged = distance < bound
    level = "" if patients_known else " Image-level only: the patients of these films are unknown."
    return measure_estimate(
        _share(flagged, None, "recognised", seed),
        n=len(flagged),
        otherwise="",
        note="Share of images nearer to some training film than 99 % of held-out films are, to a network that learnt "
        f"to recognise persons.{level}",
        floor={"value": rounded(float(np.mean(unseen < bound))), "n": len(unseen), "note": _UNSEEN_NOTE},
        extra={
            "flagged": int(flagged.sum()),
            "image_ids": _ids(image_ids, flagged),
            "threshold": rounded(bound),
            "power": _power(pairs, pair_patients, bound, seed),
            "copies": {kind: rounded(float(np.mean(values < bound))) for kind, values in copies.items()},
        },
    )


def flagging_distance(unseen: Floats) -> float:
    """The largest distance below which at most `FLAGGED_SHARE` of held-out films [H] lie."""
    return float(np.sort(unseen)[int(FLAGGED_SHARE * len(unseen))])


def _power(pairs: Floats, patients: npt.ArrayLike | None, bound: float, seed: int) -> Measure:
    if not len(pairs):
        return not_measured("No held-out patient has two films, so that nobody knows what the network recognises.")
    return measure_estimate(
        _share(pairs < bound, patients, "power", seed),
        n=len(pairs),
        otherwise="",
        note="Share of pairs of held-out films of one patient that this threshold recognises: what it can find at all.",
    )


def _share(flags: npt.NDArray[np.bool_], groups: npt.ArrayLike | None, name: str, seed: int) -> Estimate:
    return bootstrap_estimates(
        lambda times: weighted_mean(flags, times)[None], [(len(flags), groups)], name=name, seed=seed
    )[0]


def _ids(image_ids: Sequence[str], flags: npt.NDArray[np.bool_]) -> list[str]:
    return sorted(image_id for image_id, flag in zip(image_ids, flags, strict=True) if flag)[:LISTED_IDS]
