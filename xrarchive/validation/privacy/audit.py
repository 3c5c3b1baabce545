"""The whole audit: images, films and what networks made of them come in, the report's part `privacy` goes out.

Called by validation. It runs with whatever is at hand; what could not be measured says why in its place.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from xrarchive.bootstrap import make_rng
from xrarchive.files import sha256_bytes
from xrarchive.pixels import Pixels
from xrarchive.radiographs import RadiographSet
from xrarchive.records import OnStatus, Status, ignore_status
from xrarchive.statistics import bootstrap_auroc
from xrarchive.trained_films import ATTACK_BAR
from xrarchive.validation.measures import Measure, measure, not_measured
from xrarchive.validation.privacy import nearness
from xrarchive.validation.privacy.films import mirrored_films, shifted_films, to_search_size
from xrarchive.validation.privacy.flags import count_copies, count_recognised
from xrarchive.validation.privacy.nearness import Nearness, Pool, matched_holdout
from xrarchive.validation.privacy.search import (
    BLOCK_BYTES,
    FeatureRows,
    Floats,
    Indices,
    Neighbours,
    Views,
    Within,
    nearest_neighbours,
)
from xrarchive.validation.privacy.strip import write_strip

PIXELS = "pixels"
REIDENTIFICATION = "reidentification"

# Held-out films searched for in pixels, of which a film takes about 10 ms: enough for a first percentile.
UNSEEN_FILMS = 1000

_NO_FILMS = (
    "The films the generator was trained on are not at hand, so that images could not be compared with them: "
    "validate with --radiographs SET."
)
_NO_HOLDOUT = (
    "There are no held-out films to compare with: ingest a set with a split `holdout`, `test` or `validation`."
)
_NO_ATTACK = "This attack was not made."

LIMITS = (
    "That nothing was found does not prove that nothing is there: these tests know only what they look for.",
    "Whoever has sharper films, other films of the same patients or other knowledge may recognise more than was "
    "recognised here.",
)


@dataclass(frozen=True, eq=False)
class Films:
    """Real radiographs.

    Attributes:
        pixels: uint8 [M, H, H], may be memory-mapped.
        sources: str [M], "" = unknown.
        patients: str [M], "" = unknown.
    """

    pixels: Pixels
    sources: npt.NDArray[np.str_]
    patients: npt.NDArray[np.str_]

    def __len__(self) -> int:
        return len(self.pixels)

    def take(self, rows: Indices) -> Films:
        """Some of them."""
        return Films(self.pixels[rows], self.sources[rows], self.patients[rows])


@dataclass(frozen=True, eq=False)
class Space:
    """What one network makes of all sides: float [N, D], [M, D] and [H, D], row for row with the images and films."""

    synthetic: npt.NDArray[np.floating]
    training: npt.NDArray[np.floating]
    holdout: npt.NDArray[np.floating]


@dataclass(frozen=True, eq=False)
class Recognition:
    """The re-identification network's space, and what shows how much it recognises.

    Attributes:
        space: Unit vectors.
        pairs: float64 [P], distances of two films of one held-out patient.
        pair_patients: str [P], which patient; None = unknown.
        copies: Distances of planted copies to their originals, by kind.
    """

    space: Space
    pairs: Floats
    pair_patients: npt.ArrayLike | None = None
    copies: Mapping[str, Floats] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Attack:
    """Scores that are to be higher for films the generator was trained on.

    Attributes:
        members: float [N] of training films.
        others: float [M] of held-out films.
        patients: str [N + M], "" = unknown; None = all unknown.
        note: A sentence that says what was done.
    """

    members: npt.NDArray[np.floating]
    others: npt.NDArray[np.floating]
    note: str
    patients: npt.ArrayLike | None = None


def films_of(radiographs: RadiographSet, rows: Indices) -> Films:
    """Some radiographs of a set, as the audit takes them."""
    patients = radiographs.known_patients[rows]
    return Films(np.asarray(radiographs.pixels[rows]), radiographs.sources[rows], patients)


def measure_privacy(
    image_ids: Sequence[str],
    pixels: Pixels,
    training: Films | None,
    holdout: Films | None,
    *,
    spaces: Mapping[str, Space] | None = None,
    recognition: Recognition | str = "No re-identification network was trained.",
    attacks: Mapping[str, Attack | str] | None = None,
    known: int = 0,
    at_hand: int = 0,
    films_note: str = "The weights do not say which films they were trained on.",
    seed: int = 0,
    strip: Path | None = None,
    block_bytes: int = BLOCK_BYTES,
    on_status: OnStatus = ignore_status,
) -> dict[str, object]:
    """Everything about privacy that can be measured with what is at hand.

    Args:
        image_ids: [N].
        pixels: uint8 [N, H, H] of the synthetic images.
        training: All films the generator was trained on; None = not at hand.
        holdout: Films it was not trained on; None = none. Films whose pixels or known patient are among the training
            films are left out.
        spaces: Feature spaces beside the pixels, by name.
        recognition: What the re-identification network says; a sentence = why it says nothing.
        attacks: `critic` and `inversion`; a sentence = why one was not made.
        known: Films that the weights name.
        at_hand: Of those, in `training`.
        films_note: The sentence on that.
        seed: Same seed, same numbers.
        strip: Where to write the nearest pairs as a PNG, for the publisher's eyes only; None = nowhere. It shows real
            films: keep it out of whatever is published.
        block_bytes: Bound on memory of a search.
        on_status: Told of each part.

    Returns:
        `copies`, `share_nearer`, `dcr`, `nndr`, `authenticity`, `reidentification`, `membership`, `films`,
        `histograms` and `limits`: measures, by space where they differ by space.

    Raises:
        ValueError: If rows do not belong together, or features are not finite.
    """
    _require_rows(image_ids, pixels, training, holdout, spaces or {}, recognition)
    told = {
        "membership": measure_attacks(attacks or {}, seed=seed),
        "films": {"known": known, "at_hand": at_hand, "note": films_note},
    }
    reason = _no_search(pixels, training, holdout)
    if reason is not None or training is None:
        return {**_nothing(reason or _NO_FILMS), **told, "limits": list(LIMITS)}
    unseen = _unseen_rows(training, holdout)
    if holdout is None or not unseen.size:
        return {**_copies_only(image_ids, pixels, training, block_bytes), **told, "limits": list(LIMITS)}
    audit = _Audit(image_ids, pixels, training, holdout, unseen, seed, block_bytes, on_status)
    return {**audit.run(spaces or {}, recognition, strip), **told, "limits": audit.limits(known, at_hand)}


def measure_attacks(attacks: Mapping[str, Attack | str], *, seed: int) -> dict[str, Measure]:
    """AUROC of each attack: how well training films are told from held-out films."""
    found = {}
    for name in ("critic", "inversion"):
        attack = attacks.get(name, _NO_ATTACK)
        found[name] = not_measured(attack) if isinstance(attack, str) else _measure_attack(attack, seed)
    return found


def _measure_attack(attack: Attack, seed: int) -> Measure:
    labels = np.concatenate([np.ones(len(attack.members)), np.zeros(len(attack.others))])
    scores = np.concatenate([attack.members, attack.others])
    found = bootstrap_auroc(scores, labels, attack.patients, seed=seed)
    if not found.defined:
        return not_measured("The attack needs training films and held-out films.")
    return measure(
        found.value,
        low=found.low,
        high=found.high,
        n=len(scores),
        floor={"value": nearness.CHANCE, "note": "Nobody can tell training films from others."},
        note=attack.note,
        extra={"members": len(attack.members), "bar": ATTACK_BAR},
    )


@dataclass(frozen=True, eq=False)
class _Audit:
    """One archive against one set of films; `unseen` are the held-out films that count."""

    image_ids: Sequence[str]
    pixels: Pixels
    training: Films
    holdout: Films
    unseen: Indices
    seed: int
    block_bytes: int
    on_status: OnStatus

    def run(self, spaces: Mapping[str, Space], recognition: Recognition | str, strip: Path | None) -> dict[str, object]:
        """All measures that need a search."""
        matched = self.unseen[matched_holdout(self.training.sources, self.holdout.sources[self.unseen], seed=self.seed)]
        pool = self._pool(matched)
        gallery = mirrored_films(self.training.pixels)
        asked = make_rng(self.seed, "unseen").permutation(self.unseen)[:UNSEEN_FILMS]
        found = {
            PIXELS: self._search(
                PIXELS,
                shifted_films(self.pixels),
                gallery,
                mirrored_films(self.holdout.pixels[matched]) if len(matched) else None,
                shifted_films(self.holdout.pixels[np.sort(asked)]),
                np.sort(asked),
                pool,
            )
        }
        for name, space in self._spaces(spaces, recognition).items():
            found[name] = self._search(
                name,
                FeatureRows(space.synthetic),
                FeatureRows(space.training),
                FeatureRows(space.holdout[matched]) if len(matched) else None,
                FeatureRows(space.holdout[self.unseen]),
                self.unseen,
                pool,
            )
        in_pixels = found[PIXELS]
        if strip is not None:
            write_strip(strip, self.pixels, self.training.pixels, in_pixels.training)
        seed = self.seed
        return {
            "copies": count_copies(self.image_ids, in_pixels.training.distance[:, 0], in_pixels.unseen.distance[:, 0]),
            "share_nearer": {
                name: nearness.share_nearer(item, pool, seed=seed)
                if len(matched)
                else not_measured("No held-out film is of a source that training films are of.")
                for name, item in found.items()
            },
            "dcr": {name: nearness.closest_records(item, seed=seed) for name, item in found.items()},
            "nndr": {name: nearness.distance_ratios(item, seed=seed) for name, item in found.items()},
            "authenticity": nearness.authenticity(in_pixels, self._own(in_pixels), seed=seed),
            "reidentification": self._recognised(found, recognition),
            "histograms": {name: nearness.histogram(item) for name, item in found.items()},
        }

    def limits(self, known: int, at_hand: int) -> list[str]:
        """What the figures cannot say, a sentence each."""
        said = list(LIMITS)
        patients = np.concatenate([self.training.patients, self.holdout.patients[self.unseen]])
        unknown = int(np.count_nonzero(patients == ""))
        if unknown:
            said.append(
                f"Image-level only: the patients of {unknown:,} of {len(patients):,} films are unknown, so that "
                "held-out films may be of the training films' patients, and nearness to a person does not show as such."
            )
        if known > at_hand:
            said.append(f"{known - at_hand:,} of the {known:,} films the weights name were not at hand.")
        side = to_search_size(self.pixels[:1]).shape[1]
        said.append(f"Pixels were compared at {side} px.")
        return said

    def _pool(self, matched: Indices) -> Pool:
        held_out = self.holdout.sources[matched], self.holdout.patients[matched]
        return Pool.of(self.training.sources, held_out[0], self.training.patients, held_out[1])

    def _spaces(self, spaces: Mapping[str, Space], recognition: Recognition | str) -> dict[str, Space]:
        more = {} if isinstance(recognition, str) else {REIDENTIFICATION: recognition.space}
        return {**spaces, **more}

    def _search(
        self,
        name: str,
        images: Views,
        training: Views,
        matched: Views | None,
        unseen: Views,
        unseen_rows: Indices,
        pool: Pool,
    ) -> Nearness:
        holdout = self._nearest(name, images, matched, 1) if matched is not None else _nobody(len(images))
        within = pool.wanted(holdout.distance[:, 0]) if matched is not None else None
        return Nearness(
            training=self._nearest(name, images, training, 2, within=within),
            holdout=holdout,
            unseen=self._nearest(name, unseen, training, 2),
            unseen_groups=self.holdout.patients[unseen_rows],
        )

    def _nearest(
        self,
        name: str,
        queries: Views,
        gallery: Views,
        k: int,
        *,
        within: Within | None = None,
        skip: Indices | None = None,
    ) -> Neighbours:
        def told(status: Status) -> None:
            self.on_status(Status(status.done, status.total, status.unit, f"{status.text} in {name}"))

        return nearest_neighbours(
            queries, gallery, k, within=within, skip=skip, block_bytes=self.block_bytes, on_status=told
        )

    def _own(self, found: Nearness) -> Floats:
        """Distance of each training film to the nearest other one, NaN where nobody asks: float64 [M]."""
        films = np.unique(np.concatenate([found.training.index[:, 0], found.unseen.index[:, 0]]))
        queries = shifted_films(self.training.pixels[films])
        own = np.full(len(self.training), np.nan)
        own[films] = self._nearest(PIXELS, queries, mirrored_films(self.training.pixels), 1, skip=films).distance[:, 0]
        return own

    def _recognised(self, found: Mapping[str, Nearness], recognition: Recognition | str) -> Measure:
        if isinstance(recognition, str):
            return not_measured(recognition)
        return count_recognised(
            self.image_ids,
            found[REIDENTIFICATION],
            pairs=recognition.pairs,
            pair_patients=recognition.pair_patients,
            copies=recognition.copies,
            patients_known=bool((self.training.patients != "").all() and (self.holdout.patients != "").all()),
            seed=self.seed,
        )


def _nobody(count: int) -> Neighbours:
    nothing = np.empty(0, np.int64)
    return Neighbours(np.full((count, 1), np.inf), np.full((count, 1), -1), nothing, nothing)


def _unseen_rows(training: Films, holdout: Films | None) -> Indices:
    """Held-out films of which neither the pixels nor the known patient are among the training films."""
    if holdout is None:
        return np.empty(0, np.int64)
    known = {sha256_bytes(np.ascontiguousarray(film).tobytes()) for film in training.pixels}
    new = [sha256_bytes(np.ascontiguousarray(film).tobytes()) not in known for film in holdout.pixels]
    strangers = (holdout.patients == "") | ~np.isin(holdout.patients, training.patients)
    return np.flatnonzero(np.array(new, np.bool_) & strangers).astype(np.int64)


def _no_search(pixels: Pixels, training: Films | None, holdout: Films | None) -> str | None:
    """Why images cannot be compared with films; None if they can."""
    if training is None or not len(training):
        return _NO_FILMS
    sides = {to_search_size(side[:1]).shape[1] for side in (pixels, training.pixels, *_pixels_of(holdout))}
    if len(sides) > 1:
        ours, theirs = pixels.shape[1], training.pixels.shape[1]
        return (
            f"The images have {ours} px and the radiographs {theirs} px, which are not averaged to one size: ingest "
            f"them again with --size {ours}."
        )
    return None


def _pixels_of(films: Films | None) -> list[Pixels]:
    return [] if films is None or not len(films) else [films.pixels]


def _copies_only(image_ids: Sequence[str], pixels: Pixels, training: Films, block_bytes: int) -> dict[str, object]:
    found = nearest_neighbours(
        shifted_films(pixels), mirrored_films(training.pixels), 1, block_bytes=block_bytes
    ).distance[:, 0]
    return {**_nothing(_NO_HOLDOUT), "copies": count_copies(image_ids, found, None)}


def _nothing(reason: str) -> dict[str, object]:
    missing = not_measured(reason)
    by_space = {name: {PIXELS: missing} for name in ("share_nearer", "dcr", "nndr")}
    return {
        "copies": missing,
        **by_space,
        "authenticity": missing,
        "reidentification": missing,
        "histograms": {},
    }


def _require_rows(
    image_ids: Sequence[str],
    pixels: Pixels,
    training: Films | None,
    holdout: Films | None,
    spaces: Mapping[str, Space],
    recognition: Recognition | str,
) -> None:
    if len(image_ids) != len(pixels) or not len(pixels):
        raise ValueError(f"expected an id for each of some images, got {len(image_ids)} ids, {len(pixels)} images")
    for films in (training, holdout):
        if films is not None and not len(films) == len(films.sources) == len(films.patients):
            raise ValueError("films need a source and a patient each, blank if unknown")
    every = {**spaces, **({} if isinstance(recognition, str) else {REIDENTIFICATION: recognition.space})}
    expected = len(pixels), len(training or ()), len(holdout or ())
    for name, space in every.items():
        found = len(space.synthetic), len(space.training), len(space.holdout)
        if found != expected:
            raise ValueError(f"{name}: expected rows {expected} of images, training and held-out films, got {found}")
