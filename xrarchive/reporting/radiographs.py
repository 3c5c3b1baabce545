"""A radiograph set on one page: what `describe_set` says, for whoever decides whether to train on it.

The page holds no film: sets are often given under terms that forbid to show them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from xrarchive.reporting.blocks import Block, Cell, Facts, Page, Points, Section, State, Table, Verdict
from xrarchive.reporting.numbers import number
from xrarchive.reporting.page import render_page
from xrarchive.reporting.plots import heat_map

_NAMED = 20


def render_set(found: Mapping[str, Any], *, title: str) -> str:
    """The overview as one self-contained page of HTML.

    Args:
        found: What `describe_set` gave.
        title: Of the page.
    """
    page = Page(
        title=title,
        kicker="Radiograph set",
        abstract=f"{found['images']:,} radiographs of {found['patients']:,} patients, layout {found['layout']}.",
        verdict=_verdict(found),
        sections=(_findings(found), _who(found), _duplicates(found), _source(found)),
        colophon=(f"Set {found['sha256']}.",),
    )
    return render_page(page)


def _verdict(found: Mapping[str, Any]) -> Verdict:
    points = _worries(found)
    title = "Look at these before you train" if points else "Nothing in the set speaks against training on it"
    return Verdict(None, title, (Points(points),) if points else ())


def _worries(found: Mapping[str, Any]) -> tuple[tuple[State | None, str], ...]:
    twice, points = found["duplicates"], list[tuple[State | None, str]]()
    if found["patients_in_two_splits"]:
        points.append(("error", f"{found['patients_in_two_splits']:,} patients are in two splits."))
    if twice["in_two_splits"]:
        points.append(("warning", f"{twice['in_two_splits']:,} pairs of one film stand in two splits."))
    if twice["of_two_patients"]:
        points.append(("warning", f"{twice['of_two_patients']:,} pairs of one film are said to show two patients."))
    if found["lettered"]:
        points.append(("warning", f"Something seems to be written on {len(found['lettered']):,} films."))
    if found["without_patient_id"]:
        points.append(("note", f"{found['without_patient_id']:,} films have no patient id: each counts as a patient."))
    rare = [name for name, one in found["findings"].items() if 0 < one["present"] < _NAMED]
    if rare:
        points.append(("note", f"Fewer than {_NAMED} films show {', '.join(rare)}."))
    return tuple(points)


def _findings(found: Mapping[str, Any]) -> Section:
    splits = list(found["splits"])
    rows = tuple(
        (
            Cell(name),
            *(_count(one[word]) for word in ("present", "absent", "uncertain", "unknown")),
            Cell("–" if one["prevalence"] is None else number(one["prevalence"]), number=True),
            *(_count(one["by_split"].get(split, 0)) for split in splits),
        )
        for name, one in found["findings"].items()
    )
    columns = ("finding", "present", "absent", "uncertain", "unknown", "prevalence", *splits)
    notes = (("prevalence", "present, of present and absent"), ("train and so on", "films of the split that show it"))
    blocks: list[Block] = [Table("Films by finding", columns, rows, notes, wide=True)]
    if any(one["present"] for one in found["findings"].values()):
        blocks.append(
            heat_map(
                "Findings that come together",
                "Each row: of the films with this finding, the share that shows the other.",
                list(found["findings"]),
                [
                    [None if i == j else value for j, value in enumerate(row)]
                    for i, row in enumerate(found["co_occurrence"])
                ],
                top=0.5,
            )
        )
    return Section("findings", "Findings", "What do the films show, and how often?", tuple(blocks))


def _count(value: int) -> Cell:
    return Cell(f"{value:,}", number=True)


def _who(found: Mapping[str, Any]) -> Section:
    tables = tuple(
        Table(caption, (head, "films"), tuple((Cell(word), _count(count)) for word, count in found[name].items()))
        for name, caption, head in (
            ("views", "Films by view", "view"),
            ("sexes", "Films by sex", "sex"),
            ("ages", "Films by age", "from, in years"),
            ("splits", "Films by split", "split"),
        )
    )
    return Section("who", "Who and how", "Whom do the films show, from which side, and what are they for?", tables)


def _duplicates(found: Mapping[str, Any]) -> Section:
    twice = found["duplicates"]
    facts = Facts(tuple((name.replace("_", " "), f"{twice[name]:,}") for name in twice if name != "pairs"))
    rows = tuple(
        (
            Cell(pair["images"][0], pair["images"][1]),
            Cell("equal" if pair["equal"] else f"{pair['bits']} bits apart"),
            Cell({True: "one", False: "two", None: "unknown"}[pair["same_patient"]]),
            Cell(" and ".join(dict.fromkeys(pair["splits"]))),
        )
        for pair in twice["pairs"]
    )
    blocks: tuple[Block, ...] = (facts,)
    if rows:
        blocks += (Table("Pairs, the most harmful first", ("films", "likeness", "patients", "splits"), rows),)
    purpose = "Which films are there twice, under two names?"
    return Section("duplicates", "Films that are there twice", purpose, blocks)


def _source(found: Mapping[str, Any]) -> Section:
    facts = (
        ("folder", str(found["set"])),
        ("layout", str(found["layout"])),
        ("terms", ", ".join(found["terms"]) or "none named"),
        ("sizes", ", ".join(f"{px} px" for px in found["sizes_px"])),
        ("enlarged", f"{found['enlarged']:,}"),
        *((f"not taken: {code}", f"{count:,}") for code, count in found["rejects"].items()),
    )
    return Section("source", "Source", "Where is it from, and what was not taken?", (Facts(facts),))
