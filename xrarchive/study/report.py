"""score.json to one page of HTML, in the style of the validation report, and to a section of an archive's card.

In: the content of score.json. Out: text. Says nothing that is not in the score, but for what each part is for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from markupsafe import Markup

from xrarchive.reporting.blocks import Block, Cell, Facts, Figure, Fold, Page, Points, Section, Table, Text, Verdict
from xrarchive.reporting.numbers import number, span
from xrarchive.reporting.page import render_page
from xrarchive.reporting.plots import Dot, Row, dots
from xrarchive.study.leaks import MAX_AUC
from xrarchive.study.protocol import REVIEW_ANSWERS
from xrarchive.study.realism import ACCURACY, AUC, CALLED_REAL, CRITERION, DPRIME, SENSITIVITY, SPECIFICITY, TITLES

_SHARES = (ACCURACY, CALLED_REAL, SENSITIVITY, SPECIFICITY, AUC)
_TECHNICAL = "A technical study: films too small to read, or a trial. This says nothing about realism at reading size."
_ROC_PX, _ROC_EDGE = 300, 34


def render_score(score: Mapping[str, Any]) -> str:
    """The score as one self-contained page of HTML; the same score gives the same text."""
    sections = [*_realism(score), *_findings(score), *_review(score), _blinding(score), _remarks(score)]
    return render_page(
        Page(
            title=score["title"],
            kicker="Reader study",
            abstract=_abstract(score),
            verdict=Verdict(None, _headline(score), _first_blocks(score)),
            sections=(*sections, _appendix(score)),
            colophon=(f"Study {score['study_sha256'][:12]}, archive {score['manifest_sha256'][:12]}.",),
        )
    )


def card_section(score: Mapping[str, Any]) -> str:
    """A section of Markdown for the card of the archive that was read."""
    lines = ["### Read by people", "", f"{_abstract(score)} {_headline(score)}."]
    lines += [f"**{_TECHNICAL}**"] if score["technical"] else []
    if realism := score.get("realism"):
        lines += ["", "| figure | value | 95 % interval | n |", "|---|---:|---|---:|"]
        lines += [f"| {TITLES[name]} | {' | '.join(_cells(realism[name]))} |" for name in TITLES if name in realism]
        lines += ["", _equivalence(realism["equivalence"])]
    if findings := score.get("findings"):
        lines += ["", "| readers see what a film is there for | value | 95 % interval | n |", "|---|---:|---|---:|"]
        lines += [f"| {side} films | {' | '.join(_cells(found))} |" for side, found in findings["confirmed"].items()]
    if review := score.get("review"):
        lines += ["", f"Reviewed in depth: {', '.join(review)}; frequencies and lifts are in the study's report."]
    return "\n".join(lines) + "\n"


def _abstract(score: Mapping[str, Any]) -> str:
    films, readers = score["films"], len(score["readers"])
    what = {"realism": "real or synthetic", "findings": "which findings", "both": "real or synthetic, and findings",
            "review": "in depth, finding by finding"}[score["task"]]  # fmt: skip
    sizes = ", ".join(map(str, score["sizes_px"]))
    cases = "pairs" if score["design"] == "pairs" else "films one by one"
    return (
        f"{readers} reader{'s' * (readers != 1)}, {films['synthetic']} synthetic and {films['real']} real films of "
        f"{sizes} px, {cases}, blind: {what}."
    )


def _headline(score: Mapping[str, Any]) -> str:
    if realism := score.get("realism"):
        name = ACCURACY if score["design"] == "pairs" else CALLED_REAL
        word = "Readers told pairs right" if name == ACCURACY else "Readers took synthetic films for real"
        found = realism[name]
        if found["value"] is None:
            return "Nothing could be measured"
        return f"{word} in {_percent(found)} of cases"
    if findings := score.get("findings"):
        found = findings["confirmed"]["synthetic"]
        if found["value"] is not None:
            return f"Readers see what was asked for on {_percent(found)} of synthetic films"
    return "A review in depth" if "review" in score else "Nothing could be measured"


def _first_blocks(score: Mapping[str, Any]) -> tuple[Block, ...]:
    points: list[Any] = [("warning", _TECHNICAL)] if score["technical"] else []
    if "realism" in score:
        points.append((None, _equivalence(score["realism"]["equivalence"])))
    if len(score["readers"]) == 1:
        points.append(("warning", "One reader: the intervals are about other cases, and about no other reader."))
    elif len(score["readers"]) == 2:
        points.append(("warning", "Two readers: intervals for other readers are too short; have a third one read."))
    accepted = [reader for reader in score["readers"] if reader["problems"]]
    points += [("warning", f"Accepted all the same: {one['name']}, {', '.join(one['problems'])}.") for one in accepted]
    return (Points(tuple(points)),) if points else ()


def _realism(score: Mapping[str, Any]) -> Iterator[Section]:
    if "realism" not in score:
        return
    realism = score["realism"]
    shares = [name for name in _SHARES if name in realism]
    rows = [_row(TITLES[name], realism[name]) for name in shares]
    reading = "Means over readers with 95 % intervals for other readers and cases. At one half readers guess."
    overall = dots("Real or synthetic?", reading, rows, series=("mean over readers",), line=(0.5, "guessing"))
    more = _table("All figures", {TITLES[name]: realism[name] for name in TITLES if name in realism}, both=True)
    agreement = {name.replace("_", " "): found for name, found in realism["agreement"].items()}
    blocks: list[Block] = [overall, more, *_by_group(realism["by_finding"], "finding")]
    if len(realism["by_size_px"]) > 1:
        blocks += _by_group({f"{size} px": found for size, found in realism["by_size_px"].items()}, "size")
    yield Section("realism", "Real or synthetic?", "Are synthetic films taken for real ones?", tuple(blocks))
    own: list[Block] = [_readers(realism["readers"], shares), _table("Do readers agree?", agreement)]
    if realism.get("roc"):
        own.insert(0, _roc(realism["roc"]))
    yield Section("readers", "Reader by reader", "Is it one reader, or all of them?", tuple(own))


def _by_group(groups: Mapping[str, Mapping[str, Any]], what: str) -> Iterator[Block]:
    names = [name for name in (ACCURACY, CALLED_REAL) if all(name in found for found in groups.values())]
    rows = [Row(_words(group), tuple(_dot(found[name]) for name in names)) for group, found in groups.items()]
    yield dots(
        f"By {what}",
        f"The same for each {what} alone; few cases, wide intervals.",
        rows,
        series=tuple(TITLES[name] for name in names),
        line=(0.5, "guessing"),
    )


def _readers(readers: Mapping[str, Mapping[str, Any]], shares: Sequence[str]) -> Table:
    names = [name for name in (*shares, DPRIME, CRITERION) if all(name in found for found in readers.values())]
    rows = tuple(
        (
            Cell(reader),
            *(Cell(number(found[name]["value"]), more=span(found[name]["low"], found[name]["high"]), number=True)
              for name in names),
            Cell(number(found["alike"]["value"]), more=f"of {found['alike']['n']} repeats", number=True),
            Cell(number(found["median_s"]), number=True),
        )
        for reader, found in readers.items()
    )  # fmt: skip
    columns = ("reader", *(TITLES[name] for name in names), "same call twice", "seconds, median")
    return Table("Each reader, shares with Wilson's 95 % interval", columns, rows, wide=True)


def _roc(points: Mapping[str, Sequence[Sequence[float]]]) -> Figure:
    """Curves in a square: each reader thin, the mean strong."""
    side = _ROC_PX

    def place(point: Sequence[float]) -> str:
        return f"{_ROC_EDGE + side * point[0]:.1f},{6 + side * (1 - point[1]):.1f}"

    shapes = [
        Markup('<polyline class="{}" points="{}"/>').format(
            "l0" if name == "mean" else "l1", " ".join(map(place, each))
        )
        for name, each in sorted(points.items(), key=lambda item: item[0] == "mean")
    ]
    drawing = Markup(
        '<div class="heat"><svg width="{0}" height="{1}" viewBox="0 0 {0} {1}" aria-hidden="true">{2}</svg></div>'
    )
    rows = tuple(
        (Cell(name), *(Cell(f"{number(across)} / {number(up)}", number=True) for across, up in each))
        for name, each in points.items()
    )
    columns = ("reader", *(f"{bar} and up" for bar in range(len(next(iter(points.values()))), 0, -1)))
    return Figure(
        "ROC curves",
        "Across: real films called synthetic; up: synthetic films called synthetic, as the rating that counts as a "
        "call is lowered. On the dashed line readers guess.",
        drawing.format(side + _ROC_EDGE + 8, side + 30, Markup("").join([_roc_frame(), *shapes])),
        (("l0", "mean over readers"), ("l1", "each reader"), ("line", "guessing")),
        Table("Real films / synthetic films at or above each rating", columns, rows, wide=True),
    )


def _roc_frame() -> Markup:
    """Axes from 0 to 1 and the line on which readers guess."""
    left, right, top, bottom = _ROC_EDGE, _ROC_EDGE + _ROC_PX, 6, 6 + _ROC_PX
    lines = (
        ("line", left, bottom, right, top),
        ("grid", left, bottom, right, bottom),
        ("grid", left, top, left, bottom),
    )
    texts = (
        ("start", left, bottom + 18, "0"),
        ("end", right, bottom + 18, "1"),
        ("middle", (left + right) // 2, bottom + 18, "real called synthetic"),
        ("end", left - 6, top + 10, "1"),
        ("end", left - 6, bottom, "0"),
    )
    drawn = [Markup('<line class="{}" x1="{}" y1="{}" x2="{}" y2="{}"/>').format(*line) for line in lines]
    drawn += [Markup('<text text-anchor="{}" x="{}" y="{}">{}</text>').format(*text) for text in texts]
    return Markup("").join(drawn)


def _findings(score: Mapping[str, Any]) -> Iterator[Section]:
    if "findings" not in score:
        return
    by_finding = score["findings"]["by_finding"]
    rows = [
        Row(_words(name), (_dot(found["synthetic_there"]), _dot(found["real_there"])))
        for name, found in by_finding.items()
    ]
    seen = dots(
        "Seen where it should be",
        "Share of readings in which the finding was ticked: on synthetic films that were asked to show it, and on real "
        "films labelled with it. What readers see on real films is the most that can be hoped for.",
        rows,
        series=("synthetic, asked for", "real, labelled"),
    )
    keys = ("synthetic_there", "synthetic_elsewhere", "real_there", "real_elsewhere", "fleiss_kappa")
    table = Table(
        "All figures",
        ("finding", "synthetic, asked for", "synthetic, not asked for", "real, labelled", "real, not labelled", "κ"),
        tuple((Cell(_words(name)), *(_value_cell(found[key]) for key in keys)) for name, found in by_finding.items()),
        wide=True,
    )
    confirmed = {f"{side} films": found for side, found in score["findings"]["confirmed"].items()}
    yield Section(
        "findings",
        "Which findings do readers see?",
        "Do synthetic films show what they were asked to show, as real ones do?",
        (_table("Readers see what a film is there for", confirmed, both=True), seen, table),
    )


def _review(score: Mapping[str, Any]) -> Iterator[Section]:
    if "review" not in score:
        return
    folds = tuple(Fold(_words(name), (_items(found), _lifts(found))) for name, found in score["review"].items())
    words = "Films of one finding at a time, half of them real; readers knew the finding and not which film was which."
    yield Section(
        "review", "In depth", "What is on the films, and does it look as it should?", (Text((words,)), *folds)
    )


def _items(found: Mapping[str, Any]) -> Table:
    rows = tuple(
        (Cell(item), *(_value_cell(sides[side][answer]) for side in ("synthetic", "real") for answer in REVIEW_ANSWERS))
        for item, sides in found["items"].items()
    )
    columns = ("", *(f"{side}: {answer}" for side in ("synthetic", "real") for answer in REVIEW_ANSWERS))
    return Table("How often", columns, rows, wide=True)


def _lifts(found: Mapping[str, Any]) -> Table:
    rows = tuple(
        (
            Cell(_words(other)),
            _value_cell(sides["synthetic"]),
            _value_cell(sides["real"]),
            Cell(
                number((sides["real"].get("floor") or sides["synthetic"].get("floor") or {}).get("value")), number=True
            ),
        )
        for other, sides in found["lifts"].items()
    )
    columns = ("also seen", "lift, synthetic", "lift, real", "lift among the real set's labels")
    notes = (("lift", "how many times as often as on all films of that side"),)
    return Table("What goes along with it", columns, rows, notes=notes)


def _blinding(score: Mapping[str, Any]) -> Section:
    def table(caption: str, leaks: Sequence[Mapping[str, Any]]) -> Table:
        rows = tuple(
            (Cell(leak["property"]), Cell(number(leak["auc"]), number=True), Cell(number(leak["high"]), number=True))
            for leak in leaks
        )
        return Table(caption, ("property", "AUC", "up to"), rows)

    blocks: list[Block] = [
        table(f"Without looking at the films (each must stay below {MAX_AUC})", score["leaks"]),
        table("By simple statistics of the images, which a reader may pick up", score["statistics"]),
    ]
    if "realism" in score:
        blocks.append(Text((_power(score["power"]),)))
    return Section(
        "blinding",
        "Was it blind?",
        "Could films be told apart without looking at them, and what could so many readings show?",
        tuple(blocks),
    )


def _power(power: Mapping[str, Any]) -> str:
    return (
        f"All readings are worth {number(power['reads'])} independent ones. {power['detect_needs']} tell 60 % from "
        f"guessing with 80 % power, {power['equivalence_needs']} show guessing to be within ± "
        f"{100 * power['margin']:g} points; this study's power is {power['detect'][1]:.2f} and "
        f"{power['equivalence'][1]:.2f}."
    )


def _remarks(score: Mapping[str, Any]) -> Section:
    rows = tuple(
        (
            Cell(remark["reader"]),
            Cell(str(remark["case"]), number=True),
            Cell(", ".join(remark["kinds"])),
            Cell(remark["text"]),
        )
        for remark in score["remarks"]
    )
    about = tuple(
        (Cell(reader["name"]), Cell(reader["role"] or "–"), Cell(number(reader["years"]), number=True),
         Cell(f"{reader['answers']} of {reader['of']}"), Cell(reader["comment"] or "–"))
        for reader in score["readers"]
    )  # fmt: skip
    blocks: tuple[Block, ...] = (Table("Readers", ("reader", "role", "years", "answers", "comment"), about),)
    if rows:
        blocks += (Fold(f"{len(rows)} remarks", (Table("Remarks", ("reader", "case", "film", "remark"), rows),)),)
    return Section("remarks", "Who read, and what they said", "In the readers' own words.", blocks)


def _appendix(score: Mapping[str, Any]) -> Section:
    facts = (
        ("study", score["study_sha256"]),
        ("archive's manifest", score["manifest_sha256"]),
        ("radiograph set", score["set_sha256"]),
        ("resamples", number(score["settings"]["resamples"])),
        ("margin", number(score["settings"]["margin"])),
        ("format", score["schema"]),
    )
    return Section("appendix", "Appendix", "What was read, and how it was measured.", (Facts(facts),))


def _table(caption: str, measures: Mapping[str, Any], *, both: bool = False) -> Table:
    """Measures a line each; `both` adds the interval for these very readers."""
    columns = ("", "value", "95 % interval", *(["these readers, other cases"] if both else []), "n")
    rows = tuple(
        (
            Cell(name, more=found.get("reason", "")),
            Cell(number(found["value"]), number=True),
            Cell(span(found.get("low"), found.get("high"))),
            *([Cell(span(*found["cases"]) if found.get("cases") else "–")] if both else []),
            Cell(number(found.get("n")), number=True),
        )
        for name, found in measures.items()
    )
    return Table(caption, columns, rows)


def _row(label: str, found: Mapping[str, Any]) -> Row:
    return Row(label, (_dot(found),), reason=found.get("reason", ""))


def _dot(found: Mapping[str, Any]) -> Dot | None:
    return None if found["value"] is None else Dot(found["value"], found["low"], found["high"], found["n"])


def _value_cell(found: Mapping[str, Any]) -> Cell:
    return Cell(number(found["value"]), more=span(found.get("low"), found.get("high")), number=True)


def _cells(found: Mapping[str, Any]) -> tuple[str, str, str]:
    return number(found["value"]), span(found.get("low"), found.get("high")), number(found.get("n"))


def _percent(found: Mapping[str, Any]) -> str:
    text = f"{100 * found['value']:.0f} %"
    return text if found["low"] is None else f"{text} ({100 * found['low']:.0f} to {100 * found['high']:.0f} %)"


def _equivalence(found: Mapping[str, Any]) -> str:
    if "p" not in found:
        return "Whether readers guess could not be tested."
    word = "is shown" if found["shown"] else "is not shown, which is not the opposite"
    return f"That readers guess, up to ± {100 * found['margin']:g} points, {word} (TOST, p = {number(found['p'])})."


def _words(name: str) -> str:
    return name.replace("_", " ")
