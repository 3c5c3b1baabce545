"""What is asked of whom: the settings of a study, checked once.

Called by `making` and by whoever reads study.json. Limits say why they are there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from xrarchive.errors import GateError, SettingsError

Task = Literal["realism", "findings", "both", "review"]
Layout = Literal["single", "pairs"]
TASKS: tuple[str, ...] = get_args(Task)
LAYOUTS: tuple[str, ...] = get_args(Layout)

# Confidence that a film is synthetic: 1 certainly real ... 6 certainly synthetic. An even number has no way out in the
# middle, so that every rating is a call too; six points are those of ROC studies (Swets & Pickett 1982).
RATINGS = 6
FIRST_SYNTHETIC_RATING = 4
# In-depth review after Segal et al.: what a radiologist looks for on a film of one finding.
REVIEW_ITEMS = ("Typical signs", "Complications", "Devices", "Burned-in text", "Artefacts")
REVIEW_ANSWERS = ("absent", "present", "odd")
# Below this side a radiologist judges pixels, not films.
REALISM_MIN_PX = 256
MIN_PRACTICE = 5
_MIN_CASES, _MAX_CASES = 10, 2_000
_MAX_READERS = 100
_MAX_REPEATS = 0.5
_MAX_TITLE = 200


@dataclass(frozen=True)
class Protocol:
    """Settings of one study.

    Attributes:
        task: `realism` real or synthetic?; `findings` which findings are there?; `both`; `review` in depth, a finding
            at a time.
        layout: `single` films rated one by one, or `pairs` of a real and a synthetic film (two-alternative forced
            choice, realism only).
        cases: Questions a reader answers, repeats and practice apart: films, or pairs. Even for films: half are real.
        readers: Pages to make.
        repeats: Share of the cases shown a second time, for agreement of readers with themselves.
        practice: Questions before the first that counts; their films occur nowhere else.
        block: Cases between two offers of a break.
        margin: Of the equivalence test: accuracy within 0.5 +- margin counts as guessing.
        technical: Made to try the machinery, and marked so everywhere: films may be too small for realism.
        title: Shown to readers; says nothing of which film is which.
        seed: Of choice, order, ids and tokens; same seed, same study.
    """

    task: Task = "realism"
    layout: Layout = "single"
    cases: int = 200
    readers: int = 3
    repeats: float = 0.1
    practice: int = 6
    block: int = 50
    margin: float = 0.1
    technical: bool = False
    title: str = "Chest radiographs: a reader study"
    seed: int = 0

    def __post_init__(self) -> None:
        _require(self.task in TASKS, "task", self.task, f"one of {', '.join(TASKS)}")
        _require(self.layout in LAYOUTS, "design", self.layout, f"one of {', '.join(LAYOUTS)}")
        _require(self.layout == "single" or self.task == "realism", "design", self.layout, "single for this task")
        _require(_MIN_CASES <= self.cases <= _MAX_CASES, "cases", self.cases, f"{_MIN_CASES} to {_MAX_CASES:,}")
        _require(self.layout == "pairs" or self.cases % 2 == 0, "cases", self.cases, "even: half of them are real")
        _require(1 <= self.readers <= _MAX_READERS, "readers", self.readers, f"1 to {_MAX_READERS}")
        _require(0 <= self.repeats <= _MAX_REPEATS, "repeats", self.repeats, f"a share from 0 to {_MAX_REPEATS}")
        _require(MIN_PRACTICE <= self.practice <= self.cases, "practice", self.practice, f"{MIN_PRACTICE} to the cases")
        _require(self.block >= 1, "block", self.block, "at least 1")
        _require(0 < self.margin < 0.5, "margin", self.margin, "above 0 and below 0.5")
        fits = 0 < len(self.title.strip()) <= _MAX_TITLE and self.title.isprintable()
        _require(fits, "title", self.title, f"1 to {_MAX_TITLE} printable characters")
        _require(self.seed >= 0, "seed", self.seed, "0 or more")

    @property
    def asks_realism(self) -> bool:
        """Whether readers say what is real."""
        return self.task in ("realism", "both")

    @property
    def asks_findings(self) -> bool:
        """Whether readers tick findings."""
        return self.task in ("findings", "both", "review")

    @property
    def couples(self) -> int:
        """Couples of a real and a synthetic film of one finding that the cases need."""
        return self.cases if self.layout == "pairs" else self.cases // 2

    @property
    def practice_couples(self) -> int:
        """The same for practice, where one film may be left over."""
        return self.practice if self.layout == "pairs" else -(-self.practice // 2)

    @property
    def reader_names(self) -> tuple[str, ...]:
        """`reader-1` ...; a name of the publisher's choosing would be one more place for persons' names."""
        return tuple(f"reader-{number}" for number in range(1, self.readers + 1))


def require_reading_size(protocol: Protocol, sizes_px: tuple[int, ...]) -> None:
    """Refuse to ask of films how real they are that are too small to read.

    Raises:
        GateError: Unless the study is technical or about findings alone.
    """
    smallest = min(sizes_px)
    if smallest < REALISM_MIN_PX and protocol.task != "findings" and not protocol.technical:
        raise GateError(
            f"These films are {smallest} px wide; whether a film looks real is asked from {REALISM_MIN_PX} px on.",
            fix="Make a study of larger films, or a trial of the machinery with --technical, which is marked as one.",
        )


def _require(holds: bool, name: str, found: object, expected: str) -> None:
    if not holds:
        raise SettingsError(f"{name} is {found!r}, expected {expected}.", fix=f"Correct --{name}.")
