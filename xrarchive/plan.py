"""The plan of a build: every image, its seed and its unit are fixed before work starts. Torch-free.

Requests come in, a `Plan` goes out. Its hash is the resume token: the same plan gives the same bytes, whatever process
makes which unit and however often the build is killed. Bytes depend on batch composition, thread count and number
format, so these are part of the plan and never of the worker.
"""

from __future__ import annotations

import bisect
import csv
import dataclasses
import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from xrarchive.errors import InputDataError
from xrarchive.files import dump_json, sha256_bytes
from xrarchive.findings import NO_FINDING, require_known
from xrarchive.records import ImageRequest


@dataclass(frozen=True, kw_only=True)
class SearchSettings:
    """What counts as showing a finding, and how hard the latent search may try.

    Attributes:
        strictness: Share of real radiographs that reach a finding's bar: .1 asks for what the guide sees in one film of
            ten, .01 for what it sees in one of a hundred.
        natural: Whether a finding's bar is reached by as many real radiographs as bear the finding, instead of by
            `strictness` of them; the rule of `--like-real`, where rare and common findings stand side by side.
        targets: Whether each image is to be as marked as a real radiograph drawn from those above the bar, so that an
            archive holds cases of all degrees; otherwise the bar itself is enough.
        match: Nuisances (`view`, `sex`, `age`, `source`, as the guide knows them) in which every image must resemble a
            random draw, so that a finding is not drawn by drawing the view that goes with it.
        tolerance: How far a matched nuisance may be off, in standard deviations of real radiographs.
        judge_filter: Whether images that the judge does not call, at its own threshold, are left out. Then the judge
            cannot measure the archive any more.
        steps: Gradient steps from one draw at most.
        attempts: Draws tried for an image at most; then it is a shortfall.
        top_ups: Rounds of new units, planned from the shortfalls of the round before; a request of which at least eight
            images were tried and none was reached is given up.
        step_deg: Largest step, as an angle on the sphere.
        travel_deg: Largest angle between draw and image.
        margin: Calibrated logits by which the search keeps within a box, so that rounding to 8 bits does not undo it.
        shift: Largest random shift of the image before the guide, as a share of its side.
        gain: Largest random change of contrast and of brightness before the guide.
        realism: Weight of the discriminator's opinion in the loss; 0 = not asked.
        screen: Draws held against all boxes for every image wanted, before a gradient is spent.
        slots: Latents optimised together.
        unit_images: Images searched for together.
        dtype: Number format of the search; images are rendered and scored in float32. A plan says which: `auto`
            becomes bfloat16 where the processor computes in it, else float32.
        threads: Processor threads per unit.
    """

    strictness: float = 0.05
    natural: bool = False
    targets: bool = True
    match: tuple[str, ...] = ()
    tolerance: float = 0.3
    judge_filter: bool = False
    steps: int = 16
    attempts: int = 4
    top_ups: int = 2
    step_deg: float = 8.0
    travel_deg: float = 60.0
    margin: float = 0.1
    shift: float = 0.03
    gain: float = 0.1
    realism: float = 0.0
    screen: int = 4
    slots: int = 16
    unit_images: int = 256
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    threads: int = 1

    def __post_init__(self) -> None:
        """Refuse a search without effort, and shares that are none."""
        for name in ("steps", "attempts", "screen", "slots", "unit_images", "threads"):
            _require(getattr(self, name) >= 1, f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("step_deg", "travel_deg", "tolerance"):
            _require(getattr(self, name) > 0, f"{name} must be more than 0, got {getattr(self, name)}")
        for name in ("margin", "shift", "gain", "realism", "top_ups"):
            _require(getattr(self, name) >= 0, f"{name} must not be negative, got {getattr(self, name)}")
        _require(0 < self.strictness < 1, f"strictness must lie between 0 and 1, got {self.strictness}")
        _require(self.travel_deg <= 180, f"travel_deg must be at most 180, got {self.travel_deg}")
        known = ("auto", "float32", "bfloat16")
        _require(self.dtype in known, f"dtype must be one of {', '.join(known)}, got {self.dtype!r}")
        object.__setattr__(self, "match", tuple(self.match))


# So many images tried and none reached: more of the same would not help.
_HOPELESS = 8


def _require(holds: bool, message: str) -> None:
    if not holds:
        raise ValueError(message)


@dataclass(frozen=True)
class PlannedImage:
    """One image to make.

    Attributes:
        image_id: Unique in the archive.
        request: Index of its request.
        seed: Entropy of what is decided for this image alone: how marked it is to be.
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
        first_unit: Number of its first unit: units of earlier builds of the archive come before.
    """

    requests: tuple[ImageRequest, ...]
    weights: dict[str, str]
    seed: int
    search: SearchSettings
    first_unit: int = 0

    def as_dict(self) -> dict[str, object]:
        """The plan as plain values."""
        return dataclasses.asdict(self)

    @property
    def sha256(self) -> str:
        """The resume token."""
        return sha256_bytes(dump_json(self.as_dict()))

    @property
    def total(self) -> int:
        """Images asked for in all."""
        return sum(request.count for request in self.requests)

    @property
    def units(self) -> int:
        """Number of units."""
        return -(-self.total // self.search.unit_images)

    def unit_seed(self, index: int) -> int:
        """Entropy of a unit's draws, below 2**63."""
        return _entropy("unit", f"s{self.seed}-{self.first_unit + index:06d}")

    def unit(self, index: int) -> tuple[PlannedImage, ...]:
        """The images of one unit, in the order of the archive's rows: classes take turns.

        The first image of every request comes first, then the second of every request that has two, ...
        """
        start = index * self.search.unit_images
        stop = min(start + self.search.unit_images, self.total)
        turn = bisect.bisect_right(range(max(self._counts, default=0)), start, key=self._before) - 1
        skipped = start - self._before(max(turn, 0))
        images: list[tuple[int, int]] = []
        while len(images) < skipped + stop - start:
            images += [(request, turn) for request, count in enumerate(self._counts) if turn < count]
            turn += 1
        return tuple(self._image(*place) for place in images[skipped : skipped + stop - start])

    @property
    def _counts(self) -> tuple[int, ...]:
        return tuple(request.count for request in self.requests)

    def _before(self, turn: int) -> int:
        """Images of all turns before this one."""
        return sum(min(count, turn) for count in self._counts)

    def _image(self, request: int, turn: int) -> PlannedImage:
        name = f"s{self.seed}-{self.requests[request].slug}-{self.requests[request].start + turn:06d}"
        return PlannedImage(name, request, _entropy("image", name))


def _entropy(kind: str, name: str) -> int:
    digest = hashlib.sha256(f"xrarchive.{kind}/{name}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def plan_top_up(plan: Plan, accepted: Sequence[int]) -> Plan | None:
    """The next round of a build: what is missing of a plan, under new numbers and from new draws; None = nothing to do.

    Args:
        plan: The round before, all its units made.
        accepted: Images reached of each of its requests.
    """
    missing = tuple(
        dataclasses.replace(request, count=request.count - got, start=request.start + request.count)
        for request, got in zip(plan.requests, accepted, strict=True)
        if got < request.count and (got or request.count < _HOPELESS)
    )
    if not missing:
        return None
    return dataclasses.replace(plan, requests=missing, first_unit=plan.first_unit + plan.units)


def requests_per_class(findings: Sequence[str], per_class: int) -> tuple[ImageRequest, ...]:
    """`per_class` images of each finding alone."""
    return tuple(ImageRequest((finding,), per_class) for finding in findings)


def requests_like_real(
    label_sets: Mapping[str, int], count: int, *, callable_findings: Sequence[str], boost: float = 0.0
) -> tuple[ImageRequest, ...]:
    """`count` images whose label sets are as common as among real radiographs.

    Shares are rounded by largest remainder, so that nothing is left to chance. Findings that cannot be called drop out
    of their sets.

    Args:
        label_sets: How many real radiographs bear each set of findings, joined by '|'.
        count: Images in all.
        callable_findings: Findings that can be asked for, in the order they are to be named.
        boost: 0 = as common as in reality, 1 = every set equally often.

    Raises:
        ValueError: If `count` is less than 1, or `boost` not within 0..1.
        InputDataError: If no set can be asked for.
    """
    _require(count >= 1, f"like_real must be at least 1, got {count}")
    _require(0 <= boost <= 1, f"boost must lie between 0 and 1, got {boost}")
    found: Counter[tuple[str, ...]] = Counter()
    for names, films in label_sets.items():
        findings = tuple(name for name in callable_findings if name in names.split("|"))
        if findings and not (NO_FINDING in findings and len(findings) > 1):
            found[findings] += films
    if not found:
        raise InputDataError(
            "The guide's radiographs bear no set of findings that can be asked for.",
            fix="Use --per-class, or a guide trained on more labelled radiographs.",
        )
    weights = {findings: films ** (1 - boost) for findings, films in found.items()}
    exact = {findings: count * weight / sum(weights.values()) for findings, weight in weights.items()}
    counts = {findings: int(share) for findings, share in exact.items()}
    by_remainder = sorted(exact, key=lambda findings: (counts[findings] - exact[findings], findings))
    for findings in by_remainder[: count - sum(counts.values())]:
        counts[findings] += 1
    ordered = sorted(counts, key=lambda findings: (-counts[findings], findings))
    return tuple(ImageRequest(findings, counts[findings]) for findings in ordered if counts[findings])


def make_exclusive(requests: Sequence[ImageRequest], callable_findings: Sequence[str]) -> tuple[ImageRequest, ...]:
    """The same requests, all other findings that can be called to be absent.

    Raises:
        InputDataError: If two requests, told apart by what was to be absent, become the same.
    """
    made = tuple(
        dataclasses.replace(request, absent=tuple(name for name in callable_findings if name not in request.findings))
        for request in requests
    )
    _require_distinct(made, where="--exclusive")
    return made


def read_requests(path: Path, vocabulary: Sequence[str]) -> tuple[ImageRequest, ...]:
    """Read a CSV with the columns `findings` and `count`, and optionally `absent`; findings are joined by '|'.

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
    _require_distinct(requests, where=str(path))
    return requests


def require_consistent(findings: Sequence[str], absent: Sequence[str] = (), *, where: str) -> None:
    """Refuse findings that no radiograph can show together.

    Raises:
        InputDataError: For `No Finding` beside a finding, a finding named twice, or one both asked for and absent.
    """
    if NO_FINDING in findings and len(findings) > 1:
        raise InputDataError(
            f"{where}: {NO_FINDING!r} cannot be asked for together with another finding: {'|'.join(findings)}.",
            fix="Ask for them in separate lines.",
        )
    for name in (*findings, *absent):
        if (*findings, *absent).count(name) > 1:
            raise InputDataError(
                f"{where}: {name!r} is named twice in {'|'.join(findings)}, absent {'|'.join(absent) or 'none'}.",
                fix="Name it once, as asked for or as absent.",
            )


def _require_distinct(requests: Sequence[ImageRequest], *, where: str) -> None:
    sets = Counter(_as_set(request) for request in requests)
    for request in requests:
        if sets[_as_set(request)] > 1:
            raise InputDataError(
                f"{where} asks twice for {'|'.join(request.findings)}.", fix="Join the two lines and their counts."
            )


def _as_set(request: ImageRequest) -> tuple[frozenset[str], frozenset[str]]:
    return frozenset(request.findings), frozenset(request.absent)


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
    absent = tuple(name.strip() for name in (row.get("absent") or "").split("|") if name.strip())
    require_known((*findings, *absent), vocabulary, where=where)
    require_consistent(findings, absent, where=where)
    count = (row["count"] or "").strip()
    if not count.isascii() or not count.isdigit() or int(count) < 1:
        raise InputDataError(
            f"{where}: count is {count!r}, expected a positive whole number.", fix="Correct the count."
        )
    return ImageRequest(findings, int(count), absent)
