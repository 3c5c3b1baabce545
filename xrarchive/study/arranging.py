"""Ids, places and order: who sees which film when. Chance alone decides, and chance comes from a seed.

In: couples in the order they were chosen, and a protocol. Out: an `Arrangement`. The leak test calls this again with
other seeds, to see whether what it does could ever tell real from synthetic.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from xrarchive.bootstrap import make_rng
from xrarchive.study.protocol import Protocol
from xrarchive.study.selecting import REAL, SYNTHETIC

PRACTICE, MAIN, REPEAT = "practice", "main", "repeat"
# No vowels, so that no id spells a word, and nothing that is read as something else.
_ALPHABET = "bcdfghjkmnpqrstvwxz23456789"
_ID_LENGTH = 8


@dataclass(frozen=True)
class Slot:
    """One film before it has an id: its couple, and which of the two it is."""

    couple: int
    kind: str
    finding: str
    practice: bool
    size_px: int


@dataclass(frozen=True)
class Trial:
    """One question.

    Attributes:
        part: `PRACTICE`, `MAIN` or `REPEAT`.
        block: 0 for practice, then from 1.
        images: One id, or two: left, right.
        finding: In a review what the film, and all of its block, is there for; else empty.
    """

    part: str
    block: int
    images: tuple[str, ...]
    finding: str = ""


@dataclass(frozen=True)
class Arrangement:
    """Ids [N] of the slots, and each reader's trials in order."""

    ids: tuple[str, ...]
    trials: dict[str, tuple[Trial, ...]]


def make_slots(findings: Sequence[str], protocol: Protocol, sizes_px: Sequence[int]) -> list[Slot]:
    """The films of couples of these findings, the first couples for the cases, the rest for practice.

    Sizes take turns within a finding, the same for both films of a couple. Single practice films beyond
    `protocol.practice` are left out.
    """
    turns = dict.fromkeys(findings, 0)
    slots = []
    for couple, finding in enumerate(findings):
        practice = couple >= protocol.couples
        size = sizes_px[turns[finding] % len(sizes_px)]
        turns[finding] += 1
        slots += [Slot(couple, kind, finding, practice, size) for kind in (REAL, SYNTHETIC)]
    if protocol.layout == "single":
        del slots[2 * protocol.couples + protocol.practice :]
    return slots


def arrange(slots: Sequence[Slot], protocol: Protocol, seed: int) -> Arrangement:
    """Ids and every reader's order from a seed."""
    ids = _draw_ids(len(slots), make_rng(seed, "study ids"))
    rngs = {name: make_rng(seed, "study order", name) for name in protocol.reader_names}
    return Arrangement(ids, {name: _reader_trials(slots, ids, protocol, rng) for name, rng in rngs.items()})


def _draw_ids(count: int, rng: np.random.Generator) -> tuple[str, ...]:
    ids: dict[str, None] = {}
    while len(ids) < count:
        ids["".join(_ALPHABET[letter] for letter in rng.integers(len(_ALPHABET), size=_ID_LENGTH))] = None
    return tuple(ids)


def _reader_trials(
    slots: Sequence[Slot], ids: Sequence[str], protocol: Protocol, rng: np.random.Generator
) -> tuple[Trial, ...]:
    questions = _questions(slots, protocol, rng)
    practice = [question for question in questions if slots[question[0]].practice]
    counted = [question for question in questions if not slots[question[0]].practice]
    told = [slots[question[0]].finding if protocol.task == "review" else "" for question in practice]
    order = [(0, PRACTICE, practice[number], told[number]) for number in rng.permutation(len(practice)).tolist()]
    order += _ordered(counted, slots, protocol, rng)
    return tuple(
        Trial(part, block, tuple(ids[number] for number in question), finding)
        for block, part, question, finding in order
    )


def _questions(slots: Sequence[Slot], protocol: Protocol, rng: np.random.Generator) -> list[tuple[int, ...]]:
    """Slot numbers of every question: one each, or both of a couple with the real one on the left in every second."""
    if protocol.layout == "single":
        return [(number,) for number in range(len(slots))]
    left = rng.permutation(len(slots) // 2) % 2
    return [
        (2 * couple, 2 * couple + 1) if left[couple] else (2 * couple + 1, 2 * couple) for couple in range(len(left))
    ]


def _ordered(
    questions: list[tuple[int, ...]], slots: Sequence[Slot], protocol: Protocol, rng: np.random.Generator
) -> list[tuple[int, str, tuple[int, ...], str]]:
    """Block, part, question and finding of the block, in order."""
    if protocol.task != "review":
        with_repeats = _with_repeats(_dealt(questions, slots, protocol.block, rng), slots, protocol.repeats, rng)
        return [(1 + n // protocol.block, part, question, "") for n, (part, question) in enumerate(with_repeats)]
    findings = sorted({slots[question[0]].finding for question in questions})
    rows = []
    for block, number in enumerate(rng.permutation(len(findings)).tolist(), 1):
        own = [question for question in questions if slots[question[0]].finding == findings[number]]
        repeated = _with_repeats(_dealt(own, slots, len(own), rng), slots, protocol.repeats, rng)
        rows += [(block, part, question, findings[number]) for part, question in repeated]
    return rows


def _dealt(
    questions: list[tuple[int, ...]], slots: Sequence[Slot], block: int, rng: np.random.Generator
) -> list[tuple[int, ...]]:
    """Random order in which every stretch of `block` has about equally many of every kind and finding."""
    hands: list[list[tuple[int, ...]]] = [[] for _ in range(-(-len(questions) // block))]
    shuffled = [questions[number] for number in rng.permutation(len(questions)).tolist()]
    shuffled.sort(
        key=lambda question: (slots[question[0]].finding, slots[question[0]].kind if len(question) == 1 else "")
    )
    start = int(rng.integers(len(hands)))
    for number, question in enumerate(shuffled):
        hands[(start + number) % len(hands)].append(question)
    return [hand[number] for hand in hands for number in rng.permutation(len(hand)).tolist()]


def _with_repeats(
    order: list[tuple[int, ...]], slots: Sequence[Slot], share: float, rng: np.random.Generator
) -> list[tuple[str, tuple[int, ...]]]:
    """The order with some questions of its first half asked again in its second, sides changed at random.

    As many real as synthetic films come again; at least a quarter of the order lies between the two times.
    """
    half = len(order) // 2
    places = rng.permutation(half).tolist()
    kinds = [[place for place in places if slots[order[place][0]].kind == kind] for kind in (REAL, SYNTHETIC)]
    wanted = min(round(share * len(order)), half)
    if all(len(question) == 1 for question in order):
        chosen = [place for each in kinds for place in each[: wanted // 2]]
    else:
        chosen = places[:wanted]
    rows = [(float(place), MAIN, question) for place, question in enumerate(order)]
    for place in chosen:
        earliest = max(half, place + len(order) / 4)
        again = tuple(rng.permutation(order[place]).tolist())
        rows.append((float(rng.uniform(earliest, len(order))), REPEAT, again))
    return [(part, question) for _, part, question in sorted(rows, key=lambda row: row[0])]
