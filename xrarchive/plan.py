"""The plan of a build: every image, its seed and its unit are fixed before work starts. Torch-free.

Requests come in, a `Plan` goes out. Its hash is the resume token: the same plan gives the same bytes, whatever process
makes which unit and however often the build is killed. Bytes depend on batch composition, thread count and number
format, so these are part of the plan and never of the worker.
"""

from __future__ import annotations

import csv
import dataclasses
import functools
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from xrarchive.errors import InputDataError
from xrarchive.files import dump_json, sha256_bytes
from xrarchive.findings import NO_FINDING, require_known
from xrarchive.records import ImageRequest


@dataclass(frozen=True, kw_only=True)
class SearchSettings:
    """How hard the latent search may try.

    Attributes:
        steps: Optimisation steps from one start latent at most.
        attempts: Start latents per image at most; then the image is a shortfall.
        learning_rate: Adam's, on latents of norm sqrt(Z). After StyleGAN2's projector.
        margin: Calibrated logits by which every asked finding must clear its threshold during the search, so that
            rounding to 8 bits does not undo it.
        unit_images: Images searched for together.
        threads: Processor threads per unit.
    """

    steps: int = 100
    attempts: int = 4
    learning_rate: float = 0.1
    margin: float = 0.05
    unit_images: int = 48
    threads: int = 1

    def __post_init__(self) -> None:
        """Refuse a search without effort."""
        if min(self.steps, self.attempts, self.unit_images, self.threads) < 1:
            raise ValueError("steps, attempts, unit_images and threads must be at least 1")


@dataclass(frozen=True)
class PlannedImage:
    """One image to make.

    Attributes:
        image_id: Unique in the archive.
        request: Index of its request.
        seed: Entropy of its start latents.
    """

    image_id: str
    request: int
    seed: int


@dataclass(frozen=True)
class Plan:
    """Everything that decides the bytes of an archive.

    Attributes:
        requests: What is asked for.
        weights: sha256 of `generator`, `guide` and `judge`.
        seed: Of the archive.
        search: Limits of the latent search.
    """

    requests: tuple[ImageRequest, ...]
    weights: dict[str, str]
    seed: int
    search: SearchSettings

    def as_dict(self) -> dict[str, object]:
        """The plan as plain values."""
        return dataclasses.asdict(self)

    @property
    def sha256(self) -> str:
        """The resume token."""
        return sha256_bytes(dump_json(self.as_dict()))

    @property
    def units(self) -> int:
        """Number of units."""
        return -(-sum(request.count for request in self.requests) // self.search.unit_images)

    def unit(self, index: int) -> tuple[PlannedImage, ...]:
        """The images of one unit, in the order of the archive's rows: classes take turns."""
        start = index * self.search.unit_images
        return self.images[start : start + self.search.unit_images]

    @functools.cached_property
    def images(self) -> tuple[PlannedImage, ...]:
        """All images in row order: the first of every request, the second of every request, ..."""
        turns = max((request.count for request in self.requests), default=0)
        return tuple(
            self._image(request, turn)
            for turn in range(turns)
            for request in range(len(self.requests))
            if turn < self.requests[request].count
        )

    def _image(self, request: int, turn: int) -> PlannedImage:
        name = f"s{self.seed}-{'+'.join(self.requests[request].findings).replace(' ', '_')}-{turn:06d}"
        digest = hashlib.sha256(f"xrarchive.image/{name}".encode()).digest()
        return PlannedImage(name, request, int.from_bytes(digest[:8], "big") >> 1)


def requests_per_class(findings: Sequence[str], per_class: int) -> tuple[ImageRequest, ...]:
    """`per_class` images of each finding alone."""
    return tuple(ImageRequest((finding,), per_class) for finding in findings)


def read_requests(path: Path, vocabulary: Sequence[str]) -> tuple[ImageRequest, ...]:
    """Read a CSV with the columns `findings` (joined by '|') and `count`.

    Raises:
        InputDataError: With file and line, for a missing column, an unknown or contradictory set of findings, a set
            asked for twice, or a count that is no positive whole number.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream)
            _require_columns(reader.fieldnames or (), path)
            requests = tuple(_read_request(row, f"{path}:{reader.line_num}", vocabulary) for row in reader)
    except (FileNotFoundError, IsADirectoryError) as err:
        raise InputDataError(f"No requests file at {path}.", fix="Check --requests.", path=path) from err
    except (UnicodeDecodeError, csv.Error) as err:
        raise InputDataError(f"{path} is not a UTF-8 CSV: {err}.", fix="Save it as UTF-8 CSV.", path=path) from err
    if not requests:
        raise InputDataError(f"{path} asks for nothing.", fix="Add a line such as 'Effusion|Edema,50'.", path=path)
    sets = [frozenset(request.findings) for request in requests]
    for request in requests:
        if sets.count(frozenset(request.findings)) > 1:
            raise InputDataError(
                f"{path} asks twice for {'|'.join(request.findings)}.",
                fix="Join the two lines and their counts.",
                path=path,
            )
    return requests


def require_consistent(findings: Sequence[str], *, where: str) -> None:
    """Refuse findings that no radiograph can show together.

    Raises:
        InputDataError: For `No Finding` beside a finding, or a finding named twice.
    """
    if NO_FINDING in findings and len(findings) > 1:
        raise InputDataError(
            f"{where}: {NO_FINDING!r} cannot be asked for together with another finding: {'|'.join(findings)}.",
            fix="Ask for them in separate lines.",
        )
    if len(set(findings)) != len(findings):
        raise InputDataError(f"{where}: a finding is named twice in {'|'.join(findings)}.", fix="Name it once.")


def _require_columns(found: Sequence[str], path: Path) -> None:
    missing = [column for column in ("findings", "count") if column not in found]
    if missing:
        raise InputDataError(
            f"{path} lacks the column(s) {', '.join(missing)}; found: {', '.join(found) or 'none'}.",
            fix="The first line must read 'findings,count'.",
            path=path,
        )


def _read_request(row: dict[str, str | None], where: str, vocabulary: Sequence[str]) -> ImageRequest:
    findings = tuple(name.strip() for name in (row["findings"] or "").split("|"))
    require_known(findings, vocabulary, where=where)
    require_consistent(findings, where=where)
    count = (row["count"] or "").strip()
    if not count.isascii() or not count.isdigit() or int(count) < 1:
        raise InputDataError(
            f"{where}: count is {count!r}, expected a positive whole number.", fix="Correct the count."
        )
    return ImageRequest(findings, int(count))
