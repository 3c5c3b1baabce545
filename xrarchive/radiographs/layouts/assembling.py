"""From the source's words to ours: names of findings, uncertain labels, views and splits, the same for every layout.

In: a `Reading`. Out: a `Listing`. What the vocabulary does not hold is counted, what the choice of views leaves out is
listed, and a patient never stands in two splits.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from xrarchive.errors import InputDataError, SettingsError
from xrarchive.findings import NO_FINDING, make_vocabulary, nearest
from xrarchive.radiographs.layouts.names import ALL, OWN, Names
from xrarchive.radiographs.layouts.rows import (
    ABSENT,
    ALL_VIEWS,
    FRONTAL,
    PRESENT,
    UNCERTAIN,
    UNCERTAIN_POLICIES,
    Answers,
    Choices,
    Film,
    Label,
    LeftOut,
    Listing,
    Reading,
    Row,
)
from xrarchive.radiographs.layouts.words import FRONTAL_VIEWS, OTHER, UNKNOWN, parse_age, parse_sex, parse_view
from xrarchive.radiographs.split import OWN_PATIENT, assign_split, require_whole_patients

_UNKNOWN_VIEW = "UNKNOWN"
# Of several words for one finding the strongest counts.
_STRENGTH = (ABSENT, UNCERTAIN, PRESENT)
_RESOLVED = {"ignore": UNCERTAIN, "ones": PRESENT, "zeros": ABSENT}


def choose_vocabulary(findings: Sequence[str] | None, names: Names) -> tuple[str, ...]:
    """The vocabulary of a set: what was asked for, or what is usual for the layout; "all" for its table of names.

    Raises:
        SettingsError: For "all" where the findings are the user's own.
    """
    if findings is None:
        return make_vocabulary(names.usual)
    if tuple(findings) == (ALL,):
        if names is OWN:
            raise SettingsError(
                "--findings all goes with public sets, whose findings are known.",
                fix="Name the findings of your table: --findings A,B.",
            )
        return make_vocabulary(names.known)
    return make_vocabulary(findings)


def assemble(reading: Reading, names: Names, vocabulary: tuple[str, ...], choices: Choices, layout: str) -> Listing:
    """The listing of a reading.

    Raises:
        InputDataError: If a patient is in two splits, or the source lists no radiograph that may be taken.
        SettingsError: If a finding or a view was asked for that the source does not name, or a policy is none.
    """
    labeller = _Labeller(names, vocabulary, parse_uncertain(choices.uncertain, vocabulary))
    keep = _choose_views(choices.views)
    rows, left_out, missing = [], [], []
    for film in reading.films:
        view, reason = parse_view(film.view)
        refused = film.refused or keep(view, reason, film.view)
        if refused:
            left_out.append(LeftOut(film.image, *refused))
            continue
        rows.append(_row(film, view, labeller.labels(film)))
        if not film.found:
            missing.append(film.image)
    if not rows:
        raise _nothing_left(reading, left_out, choices)
    labeller.require_named(layout)
    _require_distinct(rows)
    require_whole_patients((row.patient, row.split, row.image) for row in rows)
    return Listing(
        layout=layout,
        rows=tuple(rows),
        ignored_columns=reading.ignored_columns,
        tables=reading.tables,
        terms=reading.terms,
        vocabulary=vocabulary,
        left_out=tuple(left_out),
        missing=tuple(missing),
        unmapped=dict(sorted(labeller.unmapped.items(), key=lambda item: (-item[1], item[0]))),
        policies={**reading.policies, **labeller.policies(), **_told_views(choices.views)},
        notes=reading.notes,
    )


def parse_uncertain(words: Sequence[str], vocabulary: Sequence[str]) -> dict[str, str]:
    """Policy by finding, "" for all others, from words such as "zeros" and "Edema=ones".

    Raises:
        SettingsError: For a policy or a finding we do not know.
    """
    found = {"": UNCERTAIN_POLICIES[0]}
    for word in words:
        name, _, policy = word.rpartition("=")
        if policy not in UNCERTAIN_POLICIES:
            raise SettingsError(
                f"Unknown policy {policy!r} for uncertain labels: expected {', '.join(UNCERTAIN_POLICIES)}.",
                fix="Write --uncertain zeros, or --uncertain Edema=ones for one finding.",
            )
        if name and name not in vocabulary[1:]:
            near = nearest(name, vocabulary[1:])
            raise SettingsError(
                f"--uncertain {word}: the finding {name!r} is not among {', '.join(vocabulary[1:])}.",
                fix=f"Is {near!r} meant?" if near else "Name one of these, or declare it with --findings.",
            )
        found[name] = policy
    return found


class _Labeller:
    """Answers of the source -> labels in the order of the vocabulary, counting what it does not hold."""

    def __init__(self, names: Names, vocabulary: tuple[str, ...], uncertain: Mapping[str, str]) -> None:
        self._names, self._vocabulary, self._uncertain = names, vocabulary, uncertain
        self._done: dict[tuple[Answers, bool], tuple[tuple[Label, ...], tuple[str, ...]]] = {}
        self._seen: set[str] = set()
        self._met_uncertain = False
        self.unmapped: Counter[str] = Counter()

    def labels(self, film: Film) -> tuple[Label, ...]:
        if film.answers is None:
            return (None,) * len(self._vocabulary)
        key = (film.answers, film.complete)
        if key not in self._done:
            self._done[key] = self._translate(*key)
        labels, strangers = self._done[key]
        self.unmapped.update(strangers)
        return labels

    def _translate(self, answers: Answers, complete: bool) -> tuple[tuple[Label, ...], tuple[str, ...]]:
        found: dict[str, int] = {}
        strangers: list[str] = []
        for word, value in answers:
            name = self._names.name_of(word)
            self._seen.add(name)
            if name not in self._vocabulary:
                if value != ABSENT:
                    strangers.append(word)
                continue
            if name not in found or _STRENGTH.index(value) > _STRENGTH.index(found[name]):
                found[name] = value
        rest = ABSENT if complete else None
        labels = tuple(self._resolve(name, found[name]) if name in found else rest for name in self._vocabulary)
        return labels, tuple(strangers)

    def _resolve(self, name: str, value: int) -> int:
        """An uncertain `No Finding` stays so: making it 0 or 1 would say something of every finding."""
        if value != UNCERTAIN or name == NO_FINDING:
            return value
        self._met_uncertain = True
        return _RESOLVED[self._uncertain.get(name, self._uncertain[""])]

    def policies(self) -> dict[str, str]:
        """What became of uncertain labels, if there were any."""
        if not self._met_uncertain:
            return {}
        return {f"uncertain {name}".strip(): policy for name, policy in sorted(self._uncertain.items())}

    def require_named(self, layout: str) -> None:
        """Refuse a finding that was asked for and that the source never names."""
        known = {*self._names.table.values(), *self._seen}
        for name in self._vocabulary:
            if name not in known:
                near = nearest(name, known)
                raise SettingsError(
                    f"{layout} names no finding {name!r}. It names: {', '.join(sorted(known))}.",
                    fix=f"Is {near!r} meant?" if near else "Leave it out of --findings.",
                )


def _require_distinct(rows: Sequence[Row]) -> None:
    """Refuse an image that two tables of a set list."""
    twice = [name for name, count in Counter(row.image for row in rows).items() if count > 1]
    if twice:
        raise InputDataError(
            f"{len(twice):,} images are listed by more than one table, the first is {twice[0]!r}.",
            fix="Keep one table for each image; two editions of a set cannot lie in one folder.",
        )


def _row(film: Film, view: str, labels: tuple[Label, ...]) -> Row:
    patient = film.patient or f"{OWN_PATIENT}{film.image}"
    return Row(
        image=film.image,
        place=film.place,
        patient=patient,
        split=film.split or assign_split(patient),
        labels=labels,
        view=view,
        age=parse_age(film.age),
        sex=parse_sex(film.sex),
        source=film.source,
        study=film.study,
    )


def _choose_views(views: Sequence[str]) -> Callable[[str, str, str], tuple[str, str] | None]:
    """What gives the reason code and detail for a film whose view was not chosen, None for one that was."""
    chosen: set[str] = set()
    for view in views:
        name, reason = parse_view(view)
        name = _UNKNOWN_VIEW if view.upper() == _UNKNOWN_VIEW else name
        if name in (FRONTAL.upper(), _UNKNOWN_VIEW):
            chosen |= {*(FRONTAL_VIEWS if name == FRONTAL.upper() else ()), _UNKNOWN_VIEW}
        elif name == ALL_VIEWS.upper() or (name and reason != UNKNOWN):
            chosen.add(name)
        else:
            raise SettingsError(
                f"Unknown view {view!r}: expected {FRONTAL}, {ALL_VIEWS}, or names such as PA, AP, lateral, unknown.",
                fix=f"The usual choice is --views {FRONTAL}.",
            )

    def refuse(view: str, reason: str, word: str) -> tuple[str, str] | None:
        taken = ALL_VIEWS.upper() in chosen or (_UNKNOWN_VIEW in chosen if reason == UNKNOWN else view in chosen)
        return None if taken else (reason or OTHER, word or "no view")

    return refuse


def _told_views(views: Sequence[str]) -> dict[str, str]:
    return {} if tuple(views) == (FRONTAL,) else {"views": ",".join(views)}


def _nothing_left(reading: Reading, left_out: Sequence[LeftOut], choices: Choices) -> InputDataError:
    reasons = Counter(one.code for one in left_out).most_common()
    told = "; ".join(f"{count:,} x {code}" for code, count in reasons)
    return InputDataError(
        f"None of {len(reading.films):,} radiographs may be taken: {told or 'none is listed'}.",
        fix=f"Choose other views than {','.join(choices.views)} with --views.",
    )
