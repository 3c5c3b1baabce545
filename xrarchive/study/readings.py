"""Results as arrays: what every reader said of every case. In: results and the study. Out: `Readings`.

A case is a film, or of pairs a couple, which goes by its synthetic film. Practice is left out; a repeated case counts
with its first reading alone, the second is for the reader's agreement with himself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from xrarchive.bootstrap import Floats
from xrarchive.study.arranging import MAIN, REPEAT, Trial
from xrarchive.study.folder import Key, Study
from xrarchive.study.protocol import FIRST_SYNTHETIC_RATING, REVIEW_ANSWERS, REVIEW_ITEMS
from xrarchive.study.results import Answer, Result

Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Readings:
    """Answers of R readers to C cases; NaN where a reader gave none.

    Attributes:
        readers: Names [R].
        cases: Ids [C], ascending.
        synthetic: [C], whether the film is synthetic; of pairs always.
        finding: [C], what the film is in the study for.
        size_px: [C], side at which it was shown.
        labels: float [C, K]: 1, 0, NaN = nobody says; by the study's findings.
        ratings: float [C, R]: 1 to 6; all NaN of pairs or where not asked.
        correct: float [C, R]: 1 where real and synthetic were told apart.
        ticked: float [C, R, K]: 1 where the reader saw the finding.
        items: float [C, R, I]: index of the answer to each item of a review.
        seconds: float [C, R].
        repeated: For each reader cases that came twice, and both correct flags: [(case, first, second), ...].
    """

    readers: tuple[str, ...]
    cases: tuple[str, ...]
    synthetic: Flags
    finding: npt.NDArray[np.str_]
    size_px: npt.NDArray[np.int64]
    labels: Floats
    ratings: Floats
    correct: Floats
    ticked: Floats
    items: Floats
    seconds: Floats
    repeated: tuple[tuple[tuple[int, Answer, Answer], ...], ...]


def read_readings(results: Sequence[Result], study: Study, key: Key) -> Readings:
    """The answers of `results`, in the order they come."""
    cases = tuple(sorted({case_of(trial, key) for trial in next(iter(study.trials.values())) if trial.part == MAIN}))
    place = {case: number for number, case in enumerate(cases)}
    shape = (len(cases), len(results))
    ratings, correct, seconds = (np.full(shape, np.nan) for _ in range(3))
    ticked, items = np.full((*shape, len(study.findings)), np.nan), np.full((*shape, len(REVIEW_ITEMS)), np.nan)
    repeated = []
    for column, result in enumerate(results):
        answered = list(zip(study.trials[result.reader], result.answers, strict=False))
        for trial, answer in answered:
            if trial.part == MAIN:
                at = place[case_of(trial, key)], column
                ratings[at] = np.nan if answer.rating is None else answer.rating
                correct[at] = is_correct(answer, trial, key)
                seconds[at] = answer.ms / 1000
                ticked[at] = [name in answer.findings for name in study.findings]
                items[at] = [REVIEW_ANSWERS.index(each) for each in answer.items] or np.nan
        repeated.append(tuple(_repeated(answered, place, key)))
    if not study.protocol.asks_findings:
        ticked[:] = np.nan
    entries = [key.images[case] for case in cases]
    return Readings(
        readers=tuple(result.reader for result in results),
        cases=cases,
        synthetic=np.array([entry.synthetic for entry in entries]),
        finding=np.array([entry.finding for entry in entries]),
        size_px=np.array([entry.size_px for entry in entries]),
        labels=np.array([[entry.labels.get(name, np.nan) for name in study.findings] for entry in entries], np.float64),
        ratings=ratings,
        correct=correct,
        ticked=ticked,
        items=items,
        seconds=seconds,
        repeated=tuple(repeated),
    )


def case_of(trial: Trial, key: Key) -> str:
    """The id a case goes by."""
    if len(trial.images) == 1:
        return trial.images[0]
    return next(image for image in trial.images if key.images[image].synthetic)


def is_correct(answer: Answer, trial: Trial, key: Key) -> float:
    """1 if real and synthetic were told apart, 0 if not, NaN if not asked."""
    if answer.synthetic:
        return float(key.images[answer.synthetic].synthetic)
    if answer.rating is None:
        return float("nan")
    return float((answer.rating >= FIRST_SYNTHETIC_RATING) == key.images[trial.images[0]].synthetic)


def _repeated(
    answered: Sequence[tuple[Trial, Answer]], place: dict[str, int], key: Key
) -> list[tuple[int, Answer, Answer]]:
    first = {case_of(trial, key): answer for trial, answer in answered if trial.part == MAIN}
    again = [(case_of(trial, key), answer) for trial, answer in answered if trial.part == REPEAT]
    return [(place[case], first[case], answer) for case, answer in again if case in first]


def reader_means(values: Floats, weights: Floats) -> Floats:
    """Mean [R, B] of values [C, R] under each row of weights [B, C]; NaN values are left out, NaN if none is left."""
    known = ~np.isnan(values)
    total = np.where(known, values, 0).T @ weights.T
    count = known.T.astype(np.float64) @ weights.T
    means: Floats = np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)
    return means
