"""The parts of validation.json, each as the blocks of its section.

Known measures get a figure; every measure, known or new, gets a row in a table. A part that is missing has no blocks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from xrarchive.reporting.blocks import Block, Facts, Figure, Figures, Fold, Picture, Pictures, Points, Table
from xrarchive.reporting.measures import (
    Found,
    bound_of,
    group,
    heading,
    in_order,
    is_measure,
    leaves,
    matrix,
    measure_table,
    row,
    taken,
    words,
)
from xrarchive.reporting.numbers import number, short
from xrarchive.reporting.plots import SERIES, Dot, Row, dots, heat_map, histogram

Part = Mapping[str, Any]
_CHANCE = (0.5, "chance")
_SIDES = {"archive": "archive", "draws": "random draws", "real": "real films"}
_SHARES = ("precision", "recall", "density", "coverage")


def integrity(part: Part) -> list[Block]:
    """One table."""
    return _rest("What was counted", part)


def fidelity(part: Part) -> list[Block]:
    """For each space and metric the archive beside its floor and its control, and all measures."""
    panels = [
        _distance(space, metric, found)
        for space, metrics in part.items()
        for metric, found in in_order(group(metrics)).items()
        if taken(found)
    ]
    reading = "Nearer to the floor is better. The floor's whisker is one standard deviation over its draws."
    tables = [table for space in part for table in _rest(f"In {space} features", group(part, space))]
    return [*_figures("How far from real films?", panels, reading), *tables]


def _distance(space: str, metric: str, found: Found) -> Figure:
    floor = group(found, "floor")
    rows = [row("Archive", found)]
    if "synthetic" in floor:
        rows.append(Row("Archive, n of the floor", (Dot(floor["synthetic"]),)))
    spread = floor.get("sd")
    ends = (None, None) if spread is None or not taken(floor) else (floor["value"] - spread, floor["value"] + spread)
    rows += [Row("Real films (floor)", (Dot(floor["value"], *ends),))] if taken(floor) else []
    control = bound_of(found, "control")
    rows += [Row("Blurred films (control)", (Dot(control["value"]),))] if control else []
    return dots(f"{words(metric)}, {space}", "", rows)


def diversity(part: Part) -> list[Block]:
    """Shares by space, likeness within findings, prevalence, and which findings come together."""
    spaces = group(part, "spaces")
    panels = [
        dots(
            space,
            "",
            [row(heading(name), found[name], bound="floor") for name in _SHARES if name in found],
            bound="real films",
        )
        for space, found in spaces.items()
        if any(taken(group(found, name)) for name in _SHARES)
    ]
    blocks: list[Block] = _figures("How much of the variety of real films is there?", panels)
    blocks += _tables({space: {"spaces": {space: found}} for space, found in spaces.items()}, "Measures in {} features")
    alike = group(part, "intra_class")
    if any(map(taken, alike.values())):
        reading = "Mean similarity of pairs of images of one finding; above the bar means that they repeat each other."
        rows = [row(name, found, bound="floor") for name, found in alike.items()]
        blocks.append(dots("How alike are the images of one finding?", reading, rows, bound="real films"))
    blocks += _prevalence(group(part, "prevalence"))
    blocks += _together(group(part, "co_occurrence"))
    known = {"spaces", "intra_class", "prevalence"}
    return [*blocks, *_rest("Further measures", {key: value for key, value in part.items() if key not in known})]


def _prevalence(part: Part) -> list[Block]:
    sides = [side for side in ("archive", "draws") if group(part, side)]
    names = list(dict.fromkeys(name for side in sides for name in group(part, side)))
    if not names:
        return []
    rows = [row(name, *(group(part, side).get(name) for side in sides), bound="floor") for name in names]
    reading = (
        "Share of images that show each finding. Draws tell what the generator learned, the archive what was asked."
    )
    series = [_SIDES[side] for side in sides]
    return [dots("How common is each finding?", reading, rows, series=series, bound="real films")]


def _together(part: Part) -> list[Block]:
    names = [str(name) for name in part.get("findings", ())]
    sides = {side: part[side] for side in _SIDES if part.get(side)}
    cells = [
        share
        for shares in sides.values()
        for i, line in enumerate(shares)
        for j, share in enumerate(line)
        if i != j and share
    ]
    if not names or not sides:
        return []
    top = max(cells, default=1.0)
    unit = ", in percent" if top <= 1 else ""
    reading = f"Of the images with the finding on the left, the share that also shows the one above{unit}."
    panels = [heat_map(_SIDES[side].capitalize(), "", names, shares, top=top) for side, shares in sides.items()]
    return _figures("Which findings come together?", panels, reading)


def labels(part: Part, sheets: Mapping[str, bytes]) -> list[Block]:
    """Agreement, transfer and purity by finding, what else moved, and what the images look like."""
    by = str(part.get("by", "judge"))
    raters = {by: group(part, "findings")}
    if by != "referee" and group(part, "referee"):
        raters["referee"] = group(part, "referee")
    findings = raters[by]
    blocks = _agreement(raters)
    blocks += _transfer(raters)
    blocks += _purity(findings)
    blocks += _figures(
        "How are the scores distributed?", _histograms(group(part, "histograms")), "Share of each group, by score."
    )
    blocks += _moved(group(part, "nuisances"))
    for role, rated in raters.items():
        blocks += _rated(role, rated)
    rest = {key: value for key, value in part.items() if key not in {"findings", "referee", "nuisances", "histograms"}}
    return [*blocks, *_rest("Over all findings", rest), *_sheets(sheets)]


def _agreement(raters: Mapping[str, Part]) -> list[Block]:
    by, findings = next(iter(raters.items()))
    if not any(map(taken, findings.values())):
        return []
    rows = [row(name, *(rated.get(name) for rated in raters.values()), bound="ceiling") for name in findings]
    reading = (
        f"How well a classifier that steered nothing tells images asked to show a finding from the others (AUROC). The "
        f"bar is the {by} on real radiographs; far beyond it means exaggerated, not better."
    )
    series = [f"by the {role}" for role in raters]
    title = f"Does the {by} see what was asked for?"
    return [dots(title, reading, rows, series=series, bound=f"{by}, real radiographs", line=_CHANCE)]


def _transfer(raters: Mapping[str, Part]) -> list[Block]:
    found = {role: {name: group(one, "transfer") for name, one in rated.items()} for role, rated in raters.items()}
    found = {role: rated for role, rated in found.items() if any(map(taken, rated.values()))}
    names = list(dict.fromkeys(name for rated in found.values() for name in rated))
    if not names:
        return []
    rows = [row(name, *(rated.get(name) for rated in found.values())) for name in names]
    reading = "How far the rater follows the guide on these images, over how far it does so on real radiographs."
    series = [f"to the {role}" for role in found]
    return [dots("Does it carry over?", reading, rows, series=series, line=(1.0, "as on real films"))]


def _purity(findings: Part) -> list[Block]:
    names = ("soft", "rogan_gladen", "score_mixture")[:SERIES]
    found = {name: group(one, "purity") for name, one in findings.items()}
    if not any(taken(group(one, name)) for one in found.values() for name in names):
        return []
    rows = []
    for name, one in found.items():
        real = next((held["value"] for key in names if (held := bound_of(one.get(key), "floor"))), None)
        line = row(name, *(one.get(key) for key in names))
        rows.append(Row(line.label, line.dots, real, reason=line.reason))
    reading = (
        "Share of the images asked to show a finding that show it. Calls and scores suppose that the rater errs "
        "independently of the guide and are upper bounds; the soft label is the figure to go by."
    )
    series = [words(name) for name in names]
    return [dots("How many show it?", reading, rows, series=series, bound="share of real radiographs with it")]


def _moved(nuisances: Part) -> list[Block]:
    panels = []
    for name, by_label in nuisances.items():
        rows = [
            row(label, group(found, "positive_start"), group(found, "positive_end"))
            for label, found in by_label.items()
        ]
        if any(any(line.dots) for line in rows):
            panels.append(dots(heading(name), "", rows, series=("random draws", "images made of them")))
    tables = [
        matrix(f"{heading(name)}: draws and the images made from them", "label", _flat(by_label))
        for name, by_label in nuisances.items()
        if any(map(any, _flat(by_label).values()))
    ]
    reading = "Share on the positive side (AP view, male, older), measured by the guide's own head."
    return [
        *_figures("What came along with the findings?", panels, reading),
        *([Fold("All measures of what came along", tuple(tables))] if tables else []),
    ]


def _rated(role: str, rated: Part) -> list[Block]:
    """Tables by finding: own measures, those within strata, and purity."""
    own: dict[str, dict[str, Found]] = {name: _auroc(found) for name, found in rated.items() if is_measure(found)}
    strata: dict[str, dict[str, Found]] = {}
    purity: dict[str, dict[str, Found]] = {}
    for name, found in rated.items():
        for path, one in leaves(found):
            place = own if len(path) == 1 else purity if path[0] == "purity" else strata
            place.setdefault(name, {})[path[-1] if place is purity else ", ".join(map(words, path))] = one
    captions = (
        (own, "Measures by the {}"),
        (strata, "Within groups, by the {}"),
        (purity, "Share that shows it, by the {}"),
    )
    tables = tuple(matrix(text.format(role), "finding", cells) for cells, text in captions if cells)
    return [tables[0], Fold(f"Within groups, and purity, by the {role}", tables[1:])] if len(tables) > 1 else [*tables]


def _auroc(found: Found) -> dict[str, Found]:
    """A finding's AUROC with the one on real radiographs and N, as columns of their own."""
    columns = {"auroc": found, "on_real": bound_of(found, "ceiling"), "asked_for": {"value": found.get("n")}}
    return {key: one for key, one in columns.items() if key == "auroc" or taken(one)}


def _sheets(sheets: Mapping[str, bytes]) -> list[Block]:
    pictures = tuple(
        Picture(name, f"Contact sheet of synthetic chest radiographs asked to show {name}.", png)
        for name, png in sheets.items()
    )
    return [Pictures("What they look like", pictures)] if pictures else []


def utility(part: Part) -> list[Block]:
    """AUROC of classifiers on real films, by what they were trained on, over all findings and for each."""
    macro = group(part, "macro")
    trained = ("trtr", "real_synthetic", "tstr", "pseudo_real", "pseudo_draws", "guide")
    blocks: list[Block] = []
    if any(taken(macro.get(name)) for name in trained):
        reading = "Mean AUROC over findings on held-out real films, by what the classifier was trained on."
        rows = [row(heading(name), macro[name]) for name in trained if name in macro]
        blocks.append(dots("What was learned?", reading, rows))
    findings = group(part, "findings")
    names = ("trtr", "tstr", "real_synthetic")
    if any(taken(group(found, name)) for found in findings.values() for name in names):
        rows = [row(name, *(group(found, key) for key in names)) for name, found in findings.items()]
        title = "What was learned of each finding?"
        blocks.append(
            dots(title, "AUROC on held-out real films.", rows, series=[words(name) for name in names], line=_CHANCE)
        )
    blocks += _rest("Over all findings", {"macro": macro})
    blocks += [matrix("By finding", "finding", _flat(findings))] if findings else []
    known = {"macro", "findings", "recipe"}
    return [*blocks, *_rest("Further measures", {key: part[key] for key in part if key not in known}), *_recipe(part)]


def _recipe(part: Part) -> list[Block]:
    recipe = group(part, "recipe")
    return [Fold("How the classifiers were trained", (Facts(facts_of(recipe)),))] if recipe else []


def privacy(part: Part) -> list[Block]:
    """Whether images lie nearer to training films than to others, what was found again, and the limits."""
    blocks: list[Block] = []
    nearer = group(part, "share_nearer")
    if any(map(taken, nearer.values())):
        reading = (
            "Share of images whose nearest film is one the generator learned from, of as many films on both sides."
        )
        rows = [row(space, found) for space, found in nearer.items()]
        blocks.append(dots("Nearer to training films?", reading, rows, line=(0.5, "no nearer")))
    blocks += _figures(
        "How near is the nearest film?", _histograms(group(part, "histograms")), "Share of each group, by distance."
    )
    rest = {key: value for key, value in part.items() if key not in {"histograms", "films", "limits"}}
    blocks += _rest("All measures", rest)
    films = group(part, "films")
    blocks += [Facts(facts_of(films), "Training films")] if films else []
    limits = [str(limit) for limit in part.get("limits", ())]
    return [*blocks, *([Points(tuple((None, limit) for limit in limits), "Limits")] if limits else [])]


def _histograms(part: Part) -> list[Figure]:
    figures = []
    for name, found in part.items():
        counts = {words(key): values for key, values in found.items() if key != "edges"}
        if counts and len(counts) <= SERIES:
            figures.append(histogram(name, "", found["edges"], counts))
    return figures


def facts_of(values: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """Plain values and nested ones as names and texts."""
    return tuple((words(str(key)), fact(value)) for key, value in values.items())


def fact(value: object) -> str:
    """A setting as text."""
    if isinstance(value, Mapping):
        return ", ".join(f"{words(str(key))} {fact(inner)}" for key, inner in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(fact, value))
    if isinstance(value, bool) or value is None:
        return number(value)
    return short(value) if isinstance(value, int | float) else str(value)


def _figures(title: str, figures: Sequence[Figure], reading: str = "") -> list[Block]:
    return [Figures(title, reading, tuple(figures))] if figures else []


def _tables(groups: Mapping[str, Part], caption: str) -> list[Block]:
    rows = {name: [(heading(path[-1]), found) for path, found in leaves(part)] for name, part in groups.items()}
    tables: Iterable[Table] = (measure_table(caption.format(name), found) for name, found in rows.items() if found)
    return [Fold("All measures by feature space", found)] if (found := tuple(tables)) else []


def _rest(caption: str, part: Part) -> list[Block]:
    rows = [(heading(*path), found) for path, found in leaves(part)]
    return [measure_table(caption, rows)] if rows else []


def _flat(tree: Part) -> dict[str, dict[str, Found]]:
    return {str(name): {", ".join(path): found for path, found in leaves(inner)} for name, inner in tree.items()}
