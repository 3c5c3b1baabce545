"""Which films a study shows: couples of a real and a synthetic film of one finding, every patient and film once.

In: an archive and a radiograph set. Out: `Couple`s, as equal in number for every finding as both sides allow.

Why couples: whatever else differs, findings do not, so that a reader who guesses from the finding guesses no better
than chance, for every finding and in all.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from xrarchive.archive.manifest import Manifest
from xrarchive.archive.reader import read_pixels, read_table
from xrarchive.archive.schema import hash_pixels
from xrarchive.errors import InputDataError
from xrarchive.pixels import AnyPixels
from xrarchive.radiographs.table import RadiographSet

REAL, SYNTHETIC = "real", "synthetic"


@dataclass(frozen=True)
class Film:
    """One film of a study as the key knows it.

    Attributes:
        kind: `REAL` or `SYNTHETIC`.
        finding: What it is in the study for: the class label asked for, or one it is labelled with.
        source: `image_id` in the archive, or the row in the radiograph set.
        labels: By finding 1 or 0: asked for or asked to be absent, or as labelled; findings nobody speaks of are left
            out.
        pixels: As stored, at full size.
        sha256: Of those pixels.
    """

    kind: str
    finding: str
    source: str
    labels: dict[str, int]
    pixels: AnyPixels = field(repr=False, compare=False)
    sha256: str


@dataclass(frozen=True)
class Couple:
    """A real and a synthetic film of one finding."""

    real: Film
    synthetic: Film

    @property
    def finding(self) -> str:
        """What both are there for."""
        return self.real.finding


def choose_couples(
    archive_dir: Path, manifest: Manifest, radiographs: RadiographSet, count: int, rng: np.random.Generator
) -> list[Couple]:
    """`count` couples at random: no patient, no film and no pixels twice.

    Findings take turns; one whose films are used up on either side drops out, so that numbers are as equal as they can
    be. Rare findings choose first in each round.

    Raises:
        InputDataError: If archive and set share no finding, or have fewer couples than that.
    """
    synthetic = _synthetic_queues(archive_dir, manifest, rng)
    findings = [name for name in manifest.labels if name in radiographs.vocabulary]
    real = _Reals(radiographs, findings, rng)
    findings = sorted((name for name in findings if real.waiting(name)), key=real.waiting)
    chosen: list[Couple] = []
    while findings and len(chosen) < count:
        for name in list(findings):
            couple = _couple(name, synthetic[name], real)
            if couple is None:
                findings.remove(name)
            elif len(chosen) < count:
                chosen.append(couple)
    if len(chosen) < count:
        raise InputDataError(
            f"{archive_dir} and {radiographs.folder} give {len(chosen)} couples of a real and a synthetic film of one "
            f"finding, every patient once; {count} are needed, practice included.",
            fix="Ask for fewer --cases, build a larger archive, or ingest more labelled radiographs.",
            path=archive_dir,
        )
    return chosen


def _couple(name: str, synthetic: Iterator[Film], real: _Reals) -> Couple | None:
    generate = next(synthetic, None)
    film = None if generate is None else real.take(name)
    return None if generate is None or film is None else Couple(film, generate)


def _synthetic_queues(archive_dir: Path, manifest: Manifest, rng: np.random.Generator) -> dict[str, Iterator[Film]]:
    """By class label its images in random order, read one by one, none of them twice."""
    table = read_table(archive_dir, ["image_id", "label", *manifest.findings])
    labels, ids = table["label"].to_numpy(), table["image_id"].to_pylist()
    asked = {name: table[name].to_pylist() for name in manifest.findings}
    seen: set[str] = set()

    def queue(name: str) -> Iterator[Film]:
        for row in rng.permutation(np.flatnonzero(labels == manifest.findings.index(name))).tolist():
            pixels = read_pixels(archive_dir, np.array([row]))[0]
            sha256 = hash_pixels(pixels)
            if sha256 not in seen:
                seen.add(sha256)
                known = {other: int(values[row]) for other, values in asked.items() if values[row] is not None}
                yield Film(SYNTHETIC, name, ids[row], known, pixels, sha256)

    return {name: queue(name) for name in manifest.labels}


class _Reals:
    """Labelled films of a set, handed out one a patient."""

    def __init__(self, radiographs: RadiographSet, findings: Sequence[str], rng: np.random.Generator) -> None:
        self._radiographs = radiographs
        self._used: set[str] = set()
        self._seen: set[str] = set()
        self._rows = {name: self._shuffled(name, rng) for name in findings}

    def _shuffled(self, name: str, rng: np.random.Generator) -> list[int]:
        positive = self._radiographs.labels[:, self._radiographs.vocabulary.index(name)] == 1
        rows: list[int] = rng.permutation(np.flatnonzero(positive)).tolist()
        return rows

    def waiting(self, name: str) -> int:
        """Patients not used yet who have a film with that finding."""
        return len({self._radiographs.patients[row] for row in self._rows[name]} - self._used)

    def take(self, name: str) -> Film | None:
        """A film with that finding, of a patient not used yet; None if there is no more."""
        rows = self._rows[name]
        while rows:
            row = rows.pop()
            patient = str(self._radiographs.patients[row])
            if patient in self._used:
                continue
            pixels = self._radiographs.read([row], self._radiographs.size_px)[0]
            sha256 = hash_pixels(pixels)
            if sha256 in self._seen:
                continue
            self._used.add(patient)
            self._seen.add(sha256)
            return Film(REAL, name, str(row), self._labels(row), pixels, sha256)
        return None

    def _labels(self, row: int) -> dict[str, int]:
        values: npt.NDArray[np.float32] = self._radiographs.labels[row]
        pairs = zip(self._radiographs.vocabulary, values.tolist(), strict=True)
        return {name: int(value) for name, value in pairs if value == value}


def label_lifts(radiographs: RadiographSet, findings: Sequence[str]) -> dict[str, dict[str, float]]:
    """By finding and other finding P(other | finding) / P(other) among the set's labelled films, from their labels.

    Pairs without a film to tell them from are left out.
    """
    known = [name for name in findings if name in radiographs.vocabulary]
    labels = {name: radiographs.labels[:, radiographs.vocabulary.index(name)] for name in known}
    lifts: dict[str, dict[str, float]] = {}
    for name in known:
        for other in known:
            both = ~(np.isnan(labels[name]) | np.isnan(labels[other]))
            given, overall = labels[other][both & (labels[name] == 1)], labels[other][both]
            if other != name and given.size and overall.mean() > 0:
                lifts.setdefault(name, {})[other] = round(float(given.mean() / overall.mean()), 4)
    return lifts
