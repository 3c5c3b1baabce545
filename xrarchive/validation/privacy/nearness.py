"""Are synthetic images nearer to the radiographs they were learnt from than to others? Searches in, measures out.

A generator that learnt what films have in common is as near to held-out films as to training films of the same kind and
number. Each measure stands beside what held-out real films give, and beside .5 where that is what chance gives.

    share nearer   images whose nearest film is a training film, among as many training as held-out films
    DCR            distance to the closest record; its 5th percentile    (both against all training films, and
    NNDR           the same over the distance to the second closest       beside them held-out films against them)
    authenticity   images farther from their nearest film than that film is from its own nearest

Sources: share and DCR as Platzer and Reutterer 2021 (arXiv 2104.00635), section 3.2; NNDR as Zhao et al. 2021
(arXiv 2102.08369), section 4.1; authenticity as Alaa et al. 2022 (arXiv 2102.08921), eq. 8.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from xrarchive.bootstrap import LEVEL, Codes, draw_multiplicities, group_codes, make_rng, percentile_interval
from xrarchive.estimates import Estimate, bootstrap_estimates, divide, weighted_mean
from xrarchive.validation.measures import Measure, measure, measure_estimate, not_measured, rounded
from xrarchive.validation.privacy.search import Floats, Indices, Neighbours, Within

# Draws of training films for the share: the interval's ends are then about the 5th value from either side.
DRAWS = 200
CHANCE = 0.5
PERCENTILE = 0.05
BINS = 40
_RESAMPLES = 200
# Training films kept for each image, over the share of them in a draw: exp(-30) is 1e-13.
_NEAREST_KEPT = 30

_CHANCE_NOTE = "Half, if the generator learnt no single film."
_UNSEEN_NOTE = "The same for held-out real films."


@dataclass(frozen=True, eq=False)
class Nearness:
    """What was found in one space.

    Attributes:
        training: The two nearest training films of each image [N], and those that `Pool.wanted` asks for.
        holdout: The nearest held-out film of each image [N].
        unseen: The two nearest training films of held-out films [H], a sample of them or all.
        unseen_groups: [H], whose those films are; None = unknown.
    """

    training: Neighbours
    holdout: Neighbours
    unseen: Neighbours
    unseen_groups: npt.ArrayLike | None = None


@dataclass(frozen=True, eq=False)
class Pool:
    """Where training films and held-out films come from, and whose they are.

    Attributes:
        training_sources: str [M].
        holdout_sources: str [H].
        patients: int64 [M + H], equal for films of one patient.
    """

    training_sources: npt.NDArray[np.str_]
    holdout_sources: npt.NDArray[np.str_]
    patients: Codes

    @classmethod
    def of(
        cls,
        training_sources: npt.NDArray[np.str_],
        holdout_sources: npt.NDArray[np.str_],
        training_patients: npt.NDArray[np.str_],
        holdout_patients: npt.NDArray[np.str_],
    ) -> Pool:
        """A blank patient is a patient of its own."""
        patients = np.concatenate([training_patients, holdout_patients])
        return cls(training_sources, holdout_sources, group_codes(patients, len(patients)))

    def wanted(self, nearest_held_out: Floats) -> Within:
        """The training films that decide who is nearer: those nearer to an image than its nearest held-out film.

        Only the nearest can be the nearest of a draw. That none of those kept is drawn happens once in 10^13.
        """
        names, counts = np.unique(self.holdout_sources, return_counts=True)
        there = np.array([np.count_nonzero(self.training_sources == name) for name in names])
        most = int(np.ceil(_NEAREST_KEPT / (counts / there).min()))
        return Within(nearest_held_out, most, np.isin(self.training_sources, names))

    def draw(self, rng: np.random.Generator) -> npt.NDArray[np.bool_]:
        """As many training films of each source as there are held-out ones, patients whole: bool [M]."""
        codes = self.patients[: len(self.training_sources)]
        place = rng.permutation(int(self.patients.max()) + 1)[codes]
        drawn = np.zeros(len(codes), np.bool_)
        for source, count in zip(*np.unique(self.holdout_sources, return_counts=True), strict=True):
            rows = np.flatnonzero(self.training_sources == source)
            drawn[rows[np.argsort(place[rows], kind="stable")[:count]]] = True
        return drawn


def matched_holdout(
    training_sources: npt.NDArray[np.str_], holdout_sources: npt.NDArray[np.str_], *, seed: int
) -> Indices:
    """Held-out films [H'] that training films can be matched with: of each source no more than those, at random."""
    rng, kept = make_rng(seed, "matched holdout"), []
    for source in np.unique(holdout_sources):
        rows = np.flatnonzero(holdout_sources == source)
        most = int(np.count_nonzero(training_sources == source))
        kept.append(rows if len(rows) <= most else rng.permutation(rows)[:most])
    return np.sort(np.concatenate(kept)).astype(np.int64) if kept else np.empty(0, np.int64)


def share_nearer(found: Nearness, pool: Pool, *, seed: int, draws: int = DRAWS) -> Measure:
    """Share of images nearer to a training film than to any held-out film, both sides equally many.

    Training films are drawn anew `draws` times. The interval covers that, and which films there are: few films may be
    the nearest of many images, so that the nearest films are redrawn in each, patients whole.

    Args:
        found: From a search in which every held-out film of `pool` was in the gallery.
        pool: The films.
        seed: Same seed, same numbers.
        draws: Of training films.
    """
    rng = make_rng(seed, "share nearer")
    shares, redrawn = np.empty(draws), np.empty(draws)
    for number in range(draws):
        nearer, owner = _nearest_of(found, pool, pool.draw(rng))
        codes = np.unique(pool.patients[owner], return_inverse=True)[1].astype(np.int64)
        times = draw_multiplicities(codes, 1, rng)[:, codes]
        shares[number] = nearer.mean()
        redrawn[number] = weighted_mean(nearer, times)[0]
    low, high = percentile_interval(redrawn, LEVEL)
    films = len(pool.holdout_sources)
    return measure(
        float(shares.mean()),
        low=low,
        high=high,
        n=len(found.holdout.index),
        floor={"value": CHANCE, "n": films, "note": _CHANCE_NOTE},
        note=f"Share of images nearer to a training film than to any held-out film, with {films} films on each side.",
        extra={"draws": draws},
    )


def _nearest_of(found: Nearness, pool: Pool, drawn: npt.NDArray[np.bool_]) -> tuple[npt.NDArray[np.bool_], Indices]:
    """Which images are nearer to a drawn training film, and the nearest film of each, held-out ones counted on."""
    kept = drawn[found.training.within_index]
    images, first = np.unique(found.training.within_query[kept], return_index=True)
    nearer = np.zeros(len(found.holdout.index), np.bool_)
    nearer[images] = True
    owner = len(pool.training_sources) + found.holdout.index[:, 0]
    owner[images] = found.training.within_index[kept][first]
    return nearer, owner


def closest_records(found: Nearness, *, seed: int) -> Measure:
    """DCR: the distance below which 5 % of the images have a training film, and 5 % of held-out films."""
    return _percentile(
        found.training.distance[:, 0],
        found.unseen.distance[:, 0],
        found,
        name="dcr",
        seed=seed,
        note="Distance to the nearest training film that 5 % of the images stay below.",
    )


def distance_ratios(found: Nearness, *, seed: int) -> Measure:
    """NNDR: the nearest over the second nearest distance that 5 % of the images stay below, and of held-out films."""
    if not np.isfinite(found.training.distance[:, 1]).all():
        return not_measured("There is only one training film, so that none is the second nearest.")
    return _percentile(
        _ratios(found.training.distance),
        _ratios(found.unseen.distance),
        found,
        name="nndr",
        seed=seed,
        note="Distance to the nearest over that to the second nearest training film, which 5 % of the images stay "
        "below: near 0, one single film is meant.",
    )


def _ratios(distance: Floats) -> Floats:
    """0 where the nearest film is the image itself, even if it is there twice."""
    return divide(distance[:, 0], np.where(distance[:, 0] > 0, distance[:, 1], 1))


def _percentile(images: Floats, unseen: Floats, found: Nearness, *, name: str, seed: int, note: str) -> Measure:
    ours = _percentile_estimate(images, None, name=name, seed=seed)
    theirs = _percentile_estimate(unseen, found.unseen_groups, name=f"{name} holdout", seed=seed)
    floor = {key: rounded(getattr(theirs, key)) for key in ("value", "low", "high")}
    return measure_estimate(
        ours, n=len(images), note=note, otherwise="", floor={**floor, "n": len(unseen), "note": _UNSEEN_NOTE}
    )


def _percentile_estimate(values: Floats, groups: npt.ArrayLike | None, *, name: str, seed: int) -> Estimate:
    order = np.argsort(values, kind="stable")
    ascending = values[order]

    def statistic(times: Floats) -> Floats:
        reached = np.cumsum(times[:, order], axis=1)
        places = (reached < PERCENTILE * reached[:, -1:]).sum(axis=1)
        found: Floats = ascending[np.minimum(places, len(values) - 1)][None]
        return found

    return bootstrap_estimates(statistic, [(len(values), groups)], name=name, seed=seed, resamples=_RESAMPLES)[0]


def authenticity(found: Nearness, own: Floats, *, seed: int) -> Measure:
    """Share of images farther from their nearest training film than that film is from its own nearest other one.

    Args:
        found: The search.
        own: float64 [M], distance of each training film to the nearest other one; NaN where nobody needs it.
        seed: Same seed, same interval.
    """
    if not np.isfinite(own[found.training.index[:, 0]]).all():
        return not_measured("There is only one training film, so that it has no nearest other one.")
    ours = found.training.distance[:, 0] > own[found.training.index[:, 0]]
    theirs = found.unseen.distance[:, 0] > own[found.unseen.index[:, 0]]
    estimate = bootstrap_estimates(
        lambda times: weighted_mean(ours, times)[None], [(len(ours), None)], name="authenticity", seed=seed
    )[0]
    return measure_estimate(
        estimate,
        n=len(ours),
        note="Share of images farther from their nearest training film than that film is from the nearest other one.",
        otherwise="",
        floor={"value": rounded(float(theirs.mean())), "n": len(theirs), "note": _UNSEEN_NOTE},
    )


def histogram(found: Nearness) -> dict[str, object]:
    """Distances to the nearest training film: `edges` [B + 1], counts of images and of held-out films [B]."""
    ours, theirs = found.training.distance[:, 0], found.unseen.distance[:, 0]
    edges = np.linspace(0, max(ours.max(), theirs.max(), np.finfo(np.float32).tiny), BINS + 1)
    return {
        "edges": [rounded(float(edge)) for edge in edges],
        "synthetic": np.histogram(ours, edges)[0].tolist(),
        "holdout": np.histogram(theirs, edges)[0].tolist(),
    }
