"""Do the labels belong to these very pixels? What the guide sees in them now, against what was asked and stored.

An image was accepted only where the guide's score of its pixels reached the bar of every finding asked for. Scored
again, all of them must do so still: where they do not, labels, images or scores were mixed up after the search. No
other measure finds a tenth of swapped labels: a ranking by a judge that knows little moves by less than its interval.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from xrarchive.bootstrap import Floats
from xrarchive.statistics import to_probability
from xrarchive.validation.duplicates import LISTED_IDS
from xrarchive.validation.measures import Measure, measure, not_measured, rounded
from xrarchive.validation.scored import Logits

# Share of images that must reach their bar; in an archive as it was built all do.
REACHED_BAR = 0.99

# Logits by which another processor or version of torch may score an image lower.
_SLACK_LOGITS = 0.05
# Probabilities by which a stored score may be off.
_SLACK_PROBABILITY = 0.01


def measure_reached(
    findings: Sequence[str],
    image_ids: Sequence[str],
    asked: npt.NDArray[np.bool_],
    guide: Logits,
    bars: Floats,
) -> Measure:
    """Share of the images whose guide score, taken anew, reaches the bar of every finding asked; `by_finding` too.

    Args:
        findings: The vocabulary [K].
        image_ids: [N].
        asked: bool [N, K].
        guide: float32 [N, K], the guide's logits of the pixels.
        bars: float64 [K], the least logit an image may have been accepted with; NaN = not known, and not asked.
    """
    checked = asked & np.isfinite(bars)
    if not checked.any():
        return not_measured("The guide knows no bar for any of the findings that were asked for.")
    with np.errstate(invalid="ignore"):
        missed = checked & ~(guide >= bars - _SLACK_LOGITS)
    failing = np.asarray(missed.any(axis=1))
    by_finding = {
        name: {"share": rounded(float(1 - missed[:, column].sum() / count)), "n": count}
        for column, name in enumerate(findings)
        if (count := int(checked[:, column].sum()))
    }
    return measure(
        float(1 - failing.mean()),
        n=len(asked),
        note="Share of the images that the guide, scoring their pixels again, puts where the search accepted them: "
        "less than all means that labels, images or settings were changed afterwards.",
        extra={"by_finding": by_finding, "image_ids": _listed(image_ids, failing)},
    )


def measure_stored(
    image_ids: Sequence[str], stored: Mapping[str, npt.NDArray[np.floating]], scored: Mapping[str, Logits]
) -> Measure:
    """Images whose stored probabilities are not those of their pixels: a count, with ids.

    Args:
        image_ids: [N].
        stored: By role float [N, K], probabilities of the archive; NaN where there is none.
        scored: By role float32 [N, K], logits taken anew; roles that are not at hand are left out.
    """
    roles = [role for role in stored if role in scored and np.isfinite(stored[role]).any()]
    if not roles:
        return not_measured("There are no stored scores, or none of the classifiers behind them is at hand.")
    differ = np.zeros(len(image_ids), np.bool_)
    for role in roles:
        apart = np.abs(stored[role] - to_probability(scored[role]))
        differ |= (np.nan_to_num(apart) > _SLACK_PROBABILITY).any(axis=1)
    return measure(
        int(differ.sum()),
        n=len(image_ids),
        note=f"Images whose stored scores of {' and '.join(roles)} are not those of their pixels.",
        extra={"image_ids": _listed(image_ids, differ)},
    )


def _listed(image_ids: Sequence[str], flags: npt.NDArray[np.bool_]) -> list[str]:
    return sorted(image_id for image_id, flag in zip(image_ids, flags, strict=True) if flag)[:LISTED_IDS]
