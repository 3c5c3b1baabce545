"""Privacy: the radiographs, and what networks make of them, for `xrarchive.validation.privacy`.

Training films are those the generator's weights name, in whichever sets they are; weights that name none are taken to
know the films of every split that generators are trained on. Pixels are compared at `SEARCH_PX`, so that sets of large
films fit into memory; networks see them in full, a block at a time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xrarchive.bootstrap import make_rng
from xrarchive.errors import InputDataError
from xrarchive.pixels import Pixels
from xrarchive.radiographs import RadiographSet
from xrarchive.trained_films import FilmsAtHand, films_at_hand
from xrarchive.validating.material import Material
from xrarchive.validation.privacy import COPIES, Attack, Films, Recognition, Space, measure_privacy, plant

SEARCH_PX = 64
# Films planted as copies to see whether the network recognises them.
PLANTED = 300
# Films whose scores by the critic are compared, of either side.
CRITIC_FILMS = 2000

_READ = 2048
_QUICK = "--quick leaves this out."
_NOT_NAMED = (
    "The weights do not say which films they were trained on: films of the training splits were taken for them."
)
_NO_PATIENTS = (
    "No radiograph set given names patients of several films, so that no network could learn to recognise them: give "
    "one more --radiographs SET."
)
_NO_CRITIC = "The weights hold no discriminator, so that it cannot be asked."

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class _Side:
    """Rows of several sets, one after the other."""

    parts: tuple[tuple[RadiographSet, Rows], ...]

    def __len__(self) -> int:
        return sum(len(rows) for _, rows in self.parts)

    def films(self) -> Films | None:
        """All of them, small; None if there is none."""
        if not len(self):
            return None
        return Films(
            np.concatenate([films.read(rows, min(SEARCH_PX, films.size_px)) for films, rows in self.parts]),
            np.concatenate([films.sources[rows] for films, rows in self.parts]),
            np.concatenate([films.known_patients[rows] for films, rows in self.parts]),
        )

    def blocks(self) -> Iterator[Pixels]:
        """All of them in full size, some at a time."""
        for films, rows in self.parts:
            for start in range(0, len(rows), _READ):
                yield films.read(rows[start : start + _READ], films.size_px)

    def take(self, chosen: Rows) -> Pixels:
        """Some of them in full size."""
        found, start = [], 0
        for films, rows in self.parts:
            here = chosen[(chosen >= start) & (chosen < start + len(rows))] - start
            found.append(films.read(rows[here], films.size_px))
            start += len(rows)
        return np.concatenate(found)


def measure(material: Material) -> dict[str, Any]:
    """See `xrarchive.validation.privacy.measure_privacy`."""
    images, sets = material.subject.images, _fitting(material)
    known = films_at_hand(material.generator, sets) if isinstance(material.generator, Path) else None
    training = _Side(tuple(zip(sets, _training_rows(sets, known), strict=True)))
    holdout = _Side(tuple((films, _held_out_rows(films, seen)) for films, seen in training.parts))
    there, others = training.films(), holdout.films()
    together = there is not None and others is not None
    return measure_privacy(
        images.image_ids,
        images.pixels,
        there,
        others,
        spaces=_spaces(material, training, holdout) if together and not material.quick else {},
        recognition=_recognition(material, training, holdout) if together else _NO_PATIENTS,
        attacks=_attacks(material, training, holdout) if together else {},
        known=known.known if known else 0,
        at_hand=known.at_hand if known else 0,
        films_note=known.note if known and known.known else _NOT_NAMED,
        seed=material.subject.seed,
        strip=material.strip,
        on_status=material.on_status,
    )


def _fitting(material: Material) -> list[RadiographSet]:
    """Sets whose films have the size of the images."""
    size_px = material.subject.images.pixels.shape[1]
    return [films for films in material.films if films.size_px == size_px]


def _training_rows(sets: Sequence[RadiographSet], known: FilmsAtHand | None) -> tuple[Rows, ...]:
    from xrarchive.gan.training import TRAINING_SPLITS

    return known.rows if known and known.known else tuple(films.rows(*TRAINING_SPLITS) for films in sets)


def _held_out_rows(films: RadiographSet, seen: Rows) -> Rows:
    from xrarchive.gan.realism import HELD_OUT_SPLITS

    return np.setdiff1d(films.rows(*HELD_OUT_SPLITS), seen)


def _spaces(material: Material, training: _Side, holdout: _Side) -> dict[str, Space]:
    def extract(side: _Side, space: str) -> NDArray[np.float32]:
        blocks = [material.crew.extract(space, block, on_status=material.on_status) for block in side.blocks()]
        return np.concatenate(blocks)

    return {
        space: Space(synthetic, extract(training, space), extract(holdout, space))
        for space, synthetic in material.features.items()
    }


def _recognition(material: Material, training: _Side, holdout: _Side) -> Recognition | str:
    """What a network trained on pairs of the first set with patients of several films recognises."""
    from xrarchive.reidentification import pair_distances, train_reidentifier

    if material.quick:
        return _QUICK
    cache = material.crew.cache
    for films in _fitting(material):
        try:
            network = train_reidentifier(films, cache=cache.folder if cache else None, on_status=material.on_status)
        except InputDataError:  # too few patients of several films
            continue
        there = np.concatenate([network.embed(block) for block in training.blocks()])
        others = np.concatenate([network.embed(block) for block in holdout.blocks()])
        chosen = _draw(len(training), PLANTED, material, "planted")
        shown = training.take(chosen)
        copies = {
            kind: np.linalg.norm(network.embed(plant(shown, kind)).astype(np.float64) - there[chosen], axis=1)
            for kind in COPIES
        }
        space = Space(network.embed(material.subject.images.pixels), there, others)
        return Recognition(space, *pair_distances(network, films), copies)
    return _NO_PATIENTS


def _attacks(material: Material, training: _Side, holdout: _Side) -> dict[str, Attack | str]:
    """The critic's scores, and errors of reconstruction, of training films and of held-out ones of the same sources."""
    from xrarchive.gan.memory import critic_scores
    from xrarchive.gan.snapshots import load_discriminator, load_snapshot
    from xrarchive.membership import FILMS, inversion_scores

    if isinstance(material.generator, str):
        return dict.fromkeys(("critic", "inversion"), material.generator)
    if material.quick:
        return dict.fromkeys(("critic", "inversion"), _QUICK)
    critic = load_discriminator(material.generator)
    invert = partial(inversion_scores, load_snapshot(material.generator).generator, on_status=material.on_status)
    seed = material.subject.seed
    found: dict[str, Attack | str] = {
        "critic": _NO_CRITIC,
        "inversion": _attack(
            partial(invert, seed=seed),
            *_matched(training, holdout, FILMS, material),
            note="How well training films are told from held-out ones by how closely the generator can be made to show "
            "them (100 steps from the nearest of 4,096 draws).",
        ),
    }
    if critic is not None:
        found["critic"] = _attack(
            partial(critic_scores, critic, on_status=material.on_status),
            *_matched(training, holdout, CRITIC_FILMS, material),
            note="How well training films are told from held-out ones by the discriminator that the weights hold.",
        )
    return found


def _matched(training: _Side, holdout: _Side, most: int, material: Material) -> tuple[Pixels, Pixels]:
    """As many films of either side, at most `most`, of sources that both sides have."""
    sources = [np.concatenate([films.sources[rows] for films, rows in side.parts]) for side in (training, holdout)]
    shared = np.intersect1d(sources[0], sources[1])
    rows = [np.flatnonzero(np.isin(side, shared)) for side in sources]
    count = min(most, *map(len, rows))
    sides = zip((training, holdout), rows, ("members", "others"), strict=True)
    members, others = (side.take(own[_draw(len(own), count, material, name)]) for side, own, name in sides)
    return members, others


def _attack(scores: Any, members: Pixels, others: Pixels, *, note: str) -> Attack | str:
    if not len(members):
        return "No held-out film is of a source that training films are of."
    return Attack(scores(members), scores(others), note)


def _draw(count: int, wanted: int, material: Material, name: str) -> Rows:
    rng = make_rng(material.subject.seed, "privacy", name)
    return np.sort(rng.choice(count, min(count, wanted), replace=False))
