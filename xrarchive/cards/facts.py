"""Everything a card may say of an archive, as one JSON: the manifest, what was measured, and what follows from both.

In: manifest, validation.json, the score of readers, what the rows hold. Out: plain values that the templates and the
croissant file are filled from, and nothing besides; `xrarchive card --facts FILE` writes them for whoever edits those.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xrarchive.archive.manifest import Change, Manifest
from xrarchive.archive.readme import PRETTY_NAME, readme_head
from xrarchive.cards.addressing import REPO, TAG
from xrarchive.cards.contents import FindingCount, sample_names
from xrarchive.cards.scorecard import list_criteria
from xrarchive.errors import GateError
from xrarchive.records import Tally
from xrarchive.terms import require_terms
from xrarchive.validation import SCHEMA
from xrarchive.validation.summary import PurityRow, label_rows, moved_rows, purity_rows, summary_rows

# Findings to be absent are named in a table as long as they are few; so are the ids of withdrawn images.
_NAMED_ABSENT, _NAMED_WITHDRAWN = 3, 10
_MOST = 0.5


@dataclass(frozen=True)
class Told:
    """What a card is told besides manifest and validation.

    Attributes:
        date: Day of the card, `YYYY-MM-DD`.
        validation_sha256: Of validation.json as it lies there.
        counts: What the rows hold; empty = not counted.
        study: Section on a reader study of this archive, if there was one.
        changelog: Whether a CHANGELOG.md stands beside the card.
    """

    date: str
    validation_sha256: str = ""
    counts: Sequence[FindingCount] = ()
    study: str = ""
    changelog: bool = False


def collect_facts(manifest: Manifest, report: Mapping[str, Any], told: Told, *, archive_dir: Path) -> dict[str, Any]:
    """What the templates may use.

    Args:
        manifest: Of the archive.
        report: The content of validation.json.
        told: What else there is to say.
        archive_dir: Named in the snippets by its last part only: a card holds no path of the publisher's machine.

    Raises:
        GateError: If the report belongs to another manifest or another version.
    """
    _require_fitting(manifest, report, archive_dir)
    shares, rows = purity_rows(report), [dataclasses.asdict(row) for row in summary_rows(report)]
    facts: dict[str, Any] = {
        "name": PRETTY_NAME,
        "repo": REPO,
        "tag": TAG,
        "date": told.date,
        "folder": archive_dir.resolve().name,
        "manifest": _manifest(manifest),
        "report": report,
        "validation_sha256": told.validation_sha256,
        "head": {key: value for key, value in readme_head(manifest).items() if key not in ("configs", "dataset_info")},
        "counts": [dataclasses.asdict(count) for count in told.counts],
        "samples": [{"finding": name, "path": path} for name, path in sample_names(manifest).items()],
        "requests": [_request(tally) for tally in manifest.tallies],
        "standard": _standard(manifest.settings),
        "matched": _matched(manifest),
        "search": ", ".join(f"{name} {value}" for name, value in sorted(manifest.settings.items())),
        "source_terms": [dataclasses.asdict(terms) for terms in require_terms(manifest.terms)],
        "history": _history(manifest.history),
        "withdrawals": _withdrawals(manifest),
        "changelog": told.changelog,
        "study": told.study,
        "rows": rows,
        "steering": [dataclasses.asdict(row) for row in label_rows(report) if "transfer" in row.auroc],
        "shares": [dataclasses.asdict(row) for row in shares],
        "mostly_absent": _mostly_absent(shares),
        "moved": moved_rows(report),
        "nuisances": list(report.get("labels", {}).get("nuisances", {})),
        "labelled_by": report.get("labels", {}).get("by"),
        "filtered": manifest.judge_filtered,
        "passed": [gate["name"] for gate in report["gates"]["list"] if gate["status"] == "passed"],
        "others": _other_gates(report["gates"]["list"]),
        "privacy": _privacy(report),
    }
    return {**facts, "criteria": list_criteria(facts)}


def _require_fitting(manifest: Manifest, report: Mapping[str, Any], archive_dir: Path) -> None:
    fix = f"Run `xrarchive validate {archive_dir}` again."
    if report.get("schema") != SCHEMA:
        raise GateError(
            f"The validation in {archive_dir} was written by another version: its schema is {report.get('schema')}, "
            f"expected {SCHEMA}.",
            fix=fix,
            path=archive_dir,
        )
    if report.get("manifest_sha256") != manifest.sha256:
        raise GateError(
            f"The validation in {archive_dir} names the manifest {str(report.get('manifest_sha256'))[:12]}, "
            f"the archive's is {manifest.sha256[:12]}.",
            fix=fix,
            path=archive_dir,
        )


def _manifest(manifest: Manifest) -> dict[str, Any]:
    """The manifest with what it derives; without the ids of what was withdrawn, which `withdrawals` tells."""
    derived = {name: getattr(manifest, name) for name in ("sha256", "version", "labels", "settings", "terms")}
    weights = {role: dataclasses.asdict(record) for role, record in manifest.weights.items()}
    content = {name: value for name, value in dataclasses.asdict(manifest).items() if name != "withdrawn"}
    seeds = sorted({build.seed for build in manifest.builds})
    return {**content, **derived, "labels": list(manifest.labels), "weights": weights, "seeds": seeds}


def _request(tally: Tally) -> dict[str, Any]:
    """One line of the table of requests."""
    words = " + ".join(tally.findings)
    if 0 < len(tally.absent) <= _NAMED_ABSENT:
        words += f", without {', '.join(tally.absent)}"
    elif tally.absent:
        words += f", without {len(tally.absent)} other findings"
    share = f"{100 * tally.accepted / tally.starts:.0f} %" if tally.starts else "–"
    return {"words": words, "tally": {**dataclasses.asdict(tally), "missing": tally.missing}, "yield": share}


def _standard(settings: Mapping[str, Any]) -> str:
    """What an image had to score to count as showing a finding, in words; empty for settings that do not say."""
    if "strictness" not in settings:
        return ""
    strictness = settings["strictness"]
    text = (
        f"A finding counts as shown where the guide scores the image like one of the {100 * strictness:g} % of real "
        f"radiographs that it scores highest for it (strictness {strictness:g}); "
    )
    if settings.get("targets"):
        return (
            f"{text}which of these an image had to match was drawn at random, so that there are cases of all degrees."
        )
    return f"{text}the score of the faintest of these was enough."


def _matched(manifest: Manifest) -> str:
    """Which nuisances were held still, in words; empty for settings that do not say."""
    settings = manifest.settings
    if "match" not in settings:
        return ""
    if settings["match"]:
        return (
            f"Every image was held to a random draw in {', '.join(settings['match'])}, to within "
            f"{settings['tolerance']:g} standard deviations of real radiographs, as the guide sees it."
        )
    return "No view, sex, age or source was held still: what goes along with a finding in real films goes along here."


def _mostly_absent(rows: Sequence[PurityRow]) -> list[str]:
    """Findings that less than half of the images asked for show: by the soft label, else by an upper bound."""
    found: dict[str, tuple[float, float | None]] = {}
    for row in rows:
        values = [measure["value"] for measure in (row.soft, row.calls, row.scores) if measure.get("value") is not None]
        if values:
            found.setdefault(row.finding, (values[0], row.real))
    return [
        finding if real is None else f"{finding} ({100 * real:.2g} % of real radiographs)"
        for finding, (value, real) in found.items()
        if value < _MOST
    ]


def _history(changes: Sequence[Change]) -> list[dict[str, Any]]:
    """The life of the archive, newest first."""
    return [dataclasses.asdict(change) for change in reversed(changes)]


def _withdrawals(manifest: Manifest) -> list[dict[str, Any]]:
    """What was taken away, a line for each time and reason, newest first."""
    groups = itertools.groupby(manifest.withdrawn, key=lambda item: (item.version, item.date, item.reason))
    found = [
        {"version": version, "date": date, "reason": reason, "ids": [item.image_id for item in items]}
        for (version, date, reason), items in groups
    ]
    return [
        {**group, "count": len(group["ids"]), "ids": group["ids"][:_NAMED_WITHDRAWN]}
        for group in sorted(found, key=lambda group: [int(part) for part in group["version"].split(".")], reverse=True)
    ]


def _other_gates(gates: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Gates that did not pass; those that were not measured for want of images stand in one line a measure."""
    lines: dict[tuple[str, ...], dict[str, Any]] = {}
    for gate in gates:
        if gate["status"] == "passed":
            continue
        family, finding = _family(gate)
        message = gate["message"].replace(finding, "each") if finding else gate["message"]
        key = (family, gate["status"], message, gate.get("reason") or "") if finding else (gate["name"],)
        line = lines.setdefault(key, {**gate, "name": family if finding else gate["name"], "findings": []})
        line["findings"] += [finding] if finding else []
        line["message"] = message if len(line["findings"]) > 1 else gate["message"]
    return list(lines.values())


def _family(gate: Mapping[str, Any]) -> tuple[str, str]:
    """`labels.agreement` and `Effusion` of a gate on one finding that was not measured; else its name and nothing."""
    parts = gate["name"].split(".", 2)
    single = gate["status"] == "not measured" and len(parts) == 3 and parts[0] == "labels"
    return (".".join(parts[:2]), parts[2]) if single else (gate["name"], "")


def _privacy(report: Mapping[str, Any]) -> str:
    copies = report.get("privacy", {}).get("copies", {"value": None})
    searched = (
        f"exact and near copies of training radiographs were searched for and {copies['value']} were found"
        if copies["value"] is not None
        else "copies of training radiographs were not searched for, because the radiographs were not at hand"
    )
    return (
        f"{searched}. This is evidence per image, not per patient: some training films have unknown patients, and "
        "absence of evidence is not anonymity."
    )
