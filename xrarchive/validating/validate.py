"""`validate`: gather, measure the parts that were asked for, judge the gates, write the report."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from xrarchive.archive.manifest import REPORT_NAME, VALIDATION_NAME, read_manifest
from xrarchive.archive.sums import write_sums
from xrarchive.errors import InputDataError
from xrarchive.files import dump_json, write_bytes, write_json
from xrarchive.records import OnStatus, ignore_status
from xrarchive.reporting.sheets import contact_sheets
from xrarchive.reporting.validation import render_validation
from xrarchive.settings import DEFAULT_SPACES
from xrarchive.validating import diversity, fidelity, instruments, integrity, labels, privacy, utility
from xrarchive.validating.material import Material, gather, open_features
from xrarchive.validation.gates import GateSettings, Occasion, judge_gates
from xrarchive.validation.report import make_report
from xrarchive.validation.subject import Subject

# In the order of the report.
PARTS: Mapping[str, Callable[[Material], dict[str, Any]]] = MappingProxyType(
    {
        "integrity": integrity.measure,
        "fidelity": fidelity.measure,
        "diversity": diversity.measure,
        "labels": labels.measure,
        "utility": utility.measure,
        "privacy": privacy.measure,
        "instruments": instruments.measure,
    }
)


def validate(
    archive_dir: Path,
    *,
    radiographs: Sequence[Path] = (),
    generator: Path | None = None,
    guide: Path | None = None,
    judge: Path | None = None,
    referee: Path | None = None,
    spaces: Sequence[str] = DEFAULT_SPACES,
    cache: Path | None = None,
    only: Sequence[str] = (),
    quick: bool = False,
    gates: GateSettings | None = None,
    waivers: Mapping[str, str] | None = None,
    strip: Path | None = None,
    workers: int = 1,
    on_status: OnStatus = ignore_status,
) -> dict[str, Any]:
    """Measure an archive, write validation.json and report.html; returns the content of the former.

    Under torchrun the first process does so, the others compute features with it and return an empty report.

    Args:
        archive_dir: A finished archive.
        radiographs: Radiograph sets: the first is the reference (its films that no generator saw), and all of them
            are searched for copies; none = the bundled reference statistics, and what they allow.
        generator: The weights the archive was built with; None = bundled, if it was built with those.
        guide: As `generator`.
        judge: The judge the archive was built with; None = bundled.
        referee: A classifier that had no part in the archive and measures its labels too, or alone if the judge was
            asked to filter; None = nobody does.
        spaces: Feature spaces, ``NAME`` or ``NAME=WEIGHTS``; see `xrarchive.features.spaces`.
        cache: Folder of features that were computed before, such as `xrarchive.pipeline.user_cache()`; None = none.
        only: Names of `PARTS` to measure; empty = all.
        quick: Fewer resamples and trials; the report says so.
        gates: Bars that must hold before publishing; None = the defaults.
        waivers: By gate that is closed, why it is accepted; recorded in the report.
        strip: PNG to write, of the images nearest to training films beside those, for the publisher's eyes only.
        workers: Processes or threads a part may use.
        on_status: Told what is being measured.

    Raises:
        InputDataError: If there is no archive, a weight file is not the one the manifest names, or the referee is no
            referee, had a part in the archive, or sees images of another size, or `strip` lies inside the archive.
        DamageError: If a shard cannot be read.
        SettingsError: If a feature space is unknown, or a waiver names no closed gate or gives no reason.
        ValueError: If `only` names no part.
    """
    require_parts(only)
    _require_outside(strip, archive_dir)
    with open_features(spaces, judge, cache=cache, workers=workers) as crew:
        if not crew.devices.first:
            crew.serve()
            return {}
        material = gather(
            archive_dir,
            radiographs=tuple(radiographs),
            generator=generator,
            guide=guide,
            judge=judge,
            referee=referee,
            crew=crew,
            quick=quick,
            on_status=on_status,
        )
        report = measure_parts(dataclasses.replace(material, strip=strip), only, gates=gates, waivers=waivers)
        write_json(archive_dir / VALIDATION_NAME, report)
        write_page(archive_dir / REPORT_NAME, material.subject, report)
        write_sums(archive_dir, read_manifest(archive_dir))
        return report


def _require_outside(strip: Path | None, archive_dir: Path) -> None:
    if strip is not None and strip.resolve().is_relative_to(archive_dir.resolve()):
        raise InputDataError(
            f"{strip} lies inside the archive, which is there to be published: the strip shows real radiographs.",
            fix="Name a file outside with --strip.",
            path=strip,
        )


def require_parts(only: Sequence[str]) -> None:
    """Refuse names of no part.

    Raises:
        ValueError: Naming them.
    """
    if strangers := sorted(set(only) - set(PARTS)):
        raise ValueError(f"only may name {', '.join(PARTS)}, got {', '.join(strangers)}")


def measure_parts(
    material: Material,
    only: Sequence[str] = (),
    *,
    gates: GateSettings | None = None,
    waivers: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """The report of the parts `only` names, or all; arguments as `validate`."""
    parts = {name: measure(material) for name, measure in PARTS.items() if not only or name in only}
    subject = material.subject
    occasion = Occasion(
        images=len(subject.images.pixels),
        asked=subject.asked,
        radiographs=bool(material.films),
        quick=material.quick,
    )
    judged = judge_gates(parts, occasion, gates or GateSettings(), waivers)
    return make_report(subject, material.reference, parts, judged, quick=material.quick)


def write_page(path: Path, subject: Subject, report: Mapping[str, Any]) -> None:
    """Write the report as a page that needs nothing else, with a contact sheet for each finding.

    The page is that of the file: keys by name, as JSON has them, but findings in the order of the vocabulary.
    """
    sheets = contact_sheets(subject.images.pixels, subject.images.labels, subject.findings)
    title = subject.name if subject.version is None else f"{subject.name} {subject.version}"
    shown = _put_first(subject.findings, json.loads(dump_json(report)))
    write_bytes(path, render_validation(shown, sheets=sheets, title=title).encode())


def _put_first(names: Sequence[str], value: Any) -> Any:
    """The same value, in all of its mappings these keys first and in this order."""
    if isinstance(value, list):
        return [_put_first(names, inner) for inner in value]
    if not isinstance(value, dict):
        return value
    keys = dict.fromkeys((*(name for name in names if name in value), *value))
    return {key: _put_first(names, value[key]) for key in keys}
