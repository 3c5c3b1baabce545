"""Images, random draws and real films, scored by the classifiers at hand: what label and diversity measures start from.

Each is made once for a validation (`Material` keeps them). Real films are those of the set given that has most of the
wanted kind: sets overlap in patients, and a film counted twice would say nothing new.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from xrarchive.bootstrap import make_rng
from xrarchive.boxes import bars_by_stratum, lowest_bars
from xrarchive.pixels import Pixels
from xrarchive.plan import SearchSettings
from xrarchive.records import OnStatus, Status
from xrarchive.validation.scored import Films, Scored, logits_of

if TYPE_CHECKING:
    from pathlib import Path

    from xrarchive.classifier.classifier import Classifier
    from xrarchive.radiographs import RadiographSet

Flags = npt.NDArray[np.bool_]

# Random draws of the generator: twice the images, within these; of 2,000, a share of .05 is known to within .01.
FEWEST_DRAWS, MOST_DRAWS = 500, 2_000
# Films of a set that are scored at most.
MOST_FILMS, QUICK_FILMS = 10_000, 2_000
_BLOCK = 256

NO_FILMS = "No radiographs were given: validate with --radiographs SET."


@dataclass(frozen=True)
class Pool:
    """Films of one set, scored, and which of them each classifier was not trained on: by role bool [M]."""

    films: Films
    unseen: Mapping[str, Flags]

    @property
    def labelled(self) -> Flags:
        """Films of which some finding is known: bool [M]."""
        return has_labels(self.films.labels)


def score(
    classifiers: Mapping[str, Classifier],
    findings: Sequence[str],
    pixels: Pixels,
    *,
    on_status: OnStatus,
    text: str,
) -> Scored:
    """What each classifier says of pixels uint8 [N, H, W], in the order of `findings`."""
    by = {}
    for done, (role, classifier) in enumerate(classifiers.items()):
        on_status(Status(done, len(classifiers), "classifiers", f"{role}, {text}"))
        by[role] = logits_of(classifier.vocabulary, classifier.nuisances, classifier.outputs(pixels), findings)
    return Scored(pixels, by)


def draw_pixels(generator: Path, count: int, *, seed: int, on_status: OnStatus) -> Pixels:
    """uint8 [N, H, W]: random draws of a generator as they would be stored.

    Raises:
        InputDataError: If the file is no generator.
        DamageError: If it cannot be read.
    """
    import torch

    from xrarchive.gan.layers import kernels_ready
    from xrarchive.gan.snapshots import load_snapshot
    from xrarchive.latents import draw_latent
    from xrarchive.synthesis import render

    snapshot = load_snapshot(generator)
    base = int(make_rng(seed, "random draws").integers(2**31))
    blocks = []
    with kernels_ready(snapshot.generator, torch.float32):
        for start in range(0, count, _BLOCK):
            on_status(Status(start, count, "draws", "random draws"))
            numbers = range(start, min(start + _BLOCK, count))
            latents = [draw_latent(base, number, snapshot.settings.latent_size) for number in numbers]
            blocks.append(render(snapshot.generator, torch.stack(latents)))
    return np.concatenate(blocks)


class FilmPools:
    """The sets of radiographs given, as classifiers see those of their films they were not trained on.

    Args:
        sets: In the order given.
        classifiers: By role.
        findings: The subject's.
        search: What the guide had to see in an image.
        seed: Of the choice of films where there are too many.
        most: Films of a set that are scored at most.
        on_status: Told what is being scored.
    """

    def __init__(
        self,
        sets: Sequence[RadiographSet],
        classifiers: Mapping[str, Classifier],
        findings: Sequence[str],
        search: SearchSettings,
        *,
        seed: int,
        most: int,
        on_status: OnStatus,
    ) -> None:
        size_px = classifiers["judge"].size_px
        self._sets = [films for films in sets if films.size_px == size_px]
        self._none = NO_FILMS if not sets else f"None of the radiograph sets given holds images of {size_px} px."
        self._classifiers, self._findings, self._search = classifiers, tuple(findings), search
        self._seed, self._most, self._on_status = seed, most, on_status
        self._pools: dict[int, Pool] = {}

    def unseen(self, *roles: str) -> Films | str:
        """Films that none of these classifiers was trained on, of the set that has most; or why there are none."""
        return self._best(roles, labelled=False)

    def labelled(self, *roles: str) -> Films | str:
        """As `unseen`, of films with labels."""
        return self._best(roles, labelled=True)

    @cached_property
    def _unseen(self) -> list[dict[str, Flags]]:
        """By set and role bool [N] over the set: whether the classifier was not trained on the film's patient."""
        from xrarchive.classifier.training import patient_prefixes

        found = []
        for films in self._sets:
            names, codes = np.unique(films.patients, return_inverse=True)
            prefixes = np.array([patient_prefixes([name])[0] for name in names.tolist()])
            found.append(
                {role: ~np.isin(prefixes, one.meta["patients"])[codes] for role, one in self._classifiers.items()}
            )
        return found

    def _best(self, roles: Sequence[str], *, labelled: bool) -> Films | str:
        if not self._sets:
            return self._none
        counts = [int(self._wanted(number, roles, labelled).sum()) for number in range(len(self._sets))]
        number = int(np.argmax(counts))
        kind = "labelled films" if labelled else "films"
        if not counts[number]:
            return f"The radiograph sets given hold no {kind} that {' and '.join(roles)} were not trained on."
        pool = self._pool(number)
        rows = np.all([pool.unseen[role] for role in roles], axis=0)
        return pool.films.rows(rows & pool.labelled if labelled else rows)

    def _wanted(self, number: int, roles: Sequence[str], labelled: bool) -> Flags:
        flags: Flags = np.all([self._unseen[number][role] for role in roles], axis=0)
        return flags & has_labels(self._sets[number].labels) if labelled else flags

    def _pool(self, number: int) -> Pool:
        """The films of a set that some rater was not trained on, scored; at most so many, drawn at random."""
        if number not in self._pools:
            films, unseen = self._sets[number], self._unseen[number]
            raters = [flags for role, flags in unseen.items() if role != "guide"]
            rows = np.flatnonzero(np.any(raters, axis=0))
            if len(rows) > self._most:
                rng = make_rng(self._seed, "films", str(number))
                rows = np.sort(rng.choice(rows, self._most, replace=False))
            self._pools[number] = Pool(self._score(films, rows), {role: flags[rows] for role, flags in unseen.items()})
        return self._pools[number]

    def _score(self, films: RadiographSet, rows: npt.NDArray[np.int64]) -> Films:
        name = films.folder.name
        pixels = np.asarray(films.pixels[rows])
        scored = score(
            self._classifiers, self._findings, pixels, on_status=self._on_status, text=f"{len(rows):,} films of {name}"
        )
        labels = np.full((len(rows), len(self._findings)), np.nan, np.float32)
        for column, finding in enumerate(self._findings):
            if finding in films.vocabulary:
                labels[:, column] = films.labels[rows, films.vocabulary.index(finding)]
        accepted = np.zeros(labels.shape, np.bool_)
        guide = self._classifiers.get("guide")
        if guide is not None:
            seen = {nuisance: logits > 0 for nuisance, logits in scored.by["guide"].nuisances.items()}
            bars = bars_by_stratum(self._findings, self._search, guide, seen, len(rows))
            with np.errstate(invalid="ignore"):
                accepted = scored.by["guide"].findings >= bars
        return Films(name, scored, labels, films.patients[rows], accepted)


def has_labels(labels: npt.NDArray[np.float32]) -> Flags:
    """Of which of the rows [N, K] some finding is known: bool [N]."""
    return np.asarray(np.isfinite(labels).any(axis=1), np.bool_)


def least_bars(
    guide: Classifier, findings: Sequence[str], searches: Sequence[SearchSettings]
) -> npt.NDArray[np.float64]:
    """The least logit of the guide that an image may have been accepted with, over all builds: [K]."""
    found: npt.NDArray[np.float64] = np.min([lowest_bars(findings, search, guide) for search in searches], axis=0)
    return found
