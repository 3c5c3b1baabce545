"""Ingest: a folder of radiographs becomes a radiograph set.

In: any layout `layouts` knows. Out: the folder described in `table`. Called by the command and by notebooks.

Why streamed: pixels are appended to the .npy file of every size as they are decoded (`store`), so memory stays flat for
100,000 radiographs, nothing is read twice, and a full disk is an error we can report, where a memory map would die of
SIGBUS.
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import PIL
import pyarrow as pa
import pyarrow.parquet as pq

from xrarchive.errors import InputDataError, PlanChangedError, SettingsError
from xrarchive.files import atomic_path, locked, sha256_file, write_bytes, write_json
from xrarchive.findings import make_vocabulary
from xrarchive.pixels import Fit
from xrarchive.radiographs.decode import Reject, SourceFile, decoder_warnings, source_sha256
from xrarchive.radiographs.layouts import Choices, LeftOut, Listing, Row, read_listing, require_present
from xrarchive.radiographs.layouts.rows import PRESENT, UNCERTAIN
from xrarchive.radiographs.places import read_places
from xrarchive.radiographs.privacy import KEY_NAME, hide_listing, load_key, write_names
from xrarchive.radiographs.split import SPLITS
from xrarchive.radiographs.store import BATCH, finish, forget, store
from xrarchive.radiographs.table import (
    REJECTS_COLUMNS,
    REJECTS_NAME,
    RESERVED_COLUMNS,
    SCHEMAS,
    SET_NAME,
    TABLE_NAME,
    RadiographSet,
    open_set,
    table_schema,
)
from xrarchive.radiographs.worker import How
from xrarchive.radiographs.workers import in_order
from xrarchive.records import OnStatus, Status, ignore_status
from xrarchive.terms import require_terms

# The sizes a generator can be trained at.
SIZES_PX = (16, 32, 64, 128, 256, 512, 1024)

_NAMED_REASONS = 3

BurnedIn = Literal["reject", "keep"]


@dataclass(frozen=True)
class IngestReport:
    """What an ingest gave.

    Attributes:
        images: Radiographs in the set.
        patients: Distinct patients; a radiograph without patient id counts as one.
        findings: Radiographs that show each finding, in vocabulary order.
        splits: Radiographs per split.
        rejected: ``{"image": ..., "code": ..., "reason": ...}`` for each listed file that is not in the set.
        enlarged: Radiographs smaller than `size_px`, which interpolation has made larger.
        lettered: Radiographs that something seems to be written on: look at them before anything is published. Those
            of public sets, which name their terms, are not looked at.
        shared: Groups of images that are one and the same file under two names in different splits.
        ignored_columns: Columns of the source's table that were not needed.
        left_out: Radiographs that were not to be taken, laterals for example, by reason code.
        unmapped: Labels of the source that no finding of the set stands for, and how many radiographs bear each.
        layout: Which layout the source has.
        size_px: Side of the pixels.
        terms: Names of the terms the set carries.
        out: The set's folder.
        sha256: Identifies the set (see `RadiographSet.sha256`).
    """

    images: int
    patients: int
    findings: dict[str, int]
    splits: dict[str, int]
    rejected: list[dict[str, str]]
    enlarged: int
    lettered: list[str]
    shared: list[list[str]]
    ignored_columns: list[str]
    left_out: dict[str, int]
    unmapped: dict[str, int]
    layout: str
    size_px: int
    terms: list[str]
    out: str
    sha256: str


def ingest(
    source: Path,
    out: Path,
    *,
    size_px: int = 64,
    findings: Sequence[str] | None = None,
    terms: Sequence[str] = (),
    fit: Fit = "crop",
    max_rejects: float = 0.01,
    choices: Choices | None = None,
    burned_in: BurnedIn = "reject",
    patient_key: Path | None = None,
    on_status: OnStatus = ignore_status,
) -> IngestReport:
    """Make the radiograph set `out` from the radiographs in `source`.

    The same source and settings give the same bytes. Over a finished set of the same source and settings nothing is
    done again; a finished set is never changed. A stopped ingest leaves no set.json and goes on where it was.

    Args:
        source: A folder or archive in any layout of `layouts.LAYOUTS`.
        out: The set's folder.
        size_px: Side of the square pixels, one of `SIZES_PX`.
        findings: Names that labels may hold; `No Finding` always belongs to them. None for those usual for the layout,
            of NIH's 14; ("all",) for all that it names.
        terms: Names of the terms the source was given under; those that go with the layout are added.
        fit: "crop" cuts the longer side about its centre, "pad" adds black to the shorter one.
        max_rejects: Share in 0..1 of listed images that may be unreadable.
        choices: What may be chosen about the reading of the source.
        burned_in: What becomes of DICOM films whose header says that the pixels name the patient.
        patient_key: File of the key that patients, studies and file names are hidden with, made if not there. None for
            "patients.key" beside `out` where the source holds a hospital's own ids, and to keep the ids of others.
        on_status: Told how many radiographs are done.

    Raises:
        SettingsError: For a size, a fit or terms we do not know, or a file that is no key.
        InputDataError: If the source is not what it must be (see `read_listing`), or too many images are unreadable.
        PlanChangedError: If `out` holds a set made from something else or in another way.
        LockedError: If another process is writing `out`.
        StorageError: If the disk refuses.
        DamageError: If `out` holds a finished set that was damaged since.
        ValueError: If `max_rejects` is no share.
    """
    source, out = Path(source), Path(out)
    if not 0 <= max_rejects <= 1:
        raise ValueError(f"max_rejects must be in 0..1, got {max_rejects}")
    _require_settings(size_px, fit, findings)
    require_terms(terms)
    listing = read_listing(source, findings, choices)
    require_present(listing, source, max_rejects)
    key = load_key(patient_key or out.parent / KEY_NAME) if listing.private or patient_key else None
    if key:
        shown, listing = listing, hide_listing(listing, key)
        write_names(out.with_name(f"{out.name}.films.csv"), shown, listing)
    settings = {
        "size_px": size_px,
        "fit": fit,
        "findings": list(listing.vocabulary),
        "terms": [known.name for known in require_terms([*terms, *listing.terms])],
        **({"policies": listing.policies} if listing.policies else {}),
        **({"burned_in": burned_in} if burned_in == "keep" else {}),
        **({"patient_key": key.fingerprint} if key else {}),
    }
    with locked(out), decoder_warnings():
        if (out / SET_NAME).exists():
            _require_same(open_set(out), listing, settings, on_status)
        else:
            _write_set(out, listing, settings, max_rejects, on_status)
        return _report(open_set(out))


def _require_settings(size_px: int, fit: str, findings: Sequence[str] | None) -> None:
    """Refuse a size, a fit or a finding name that no set can have."""
    if size_px not in SIZES_PX:
        near = min(SIZES_PX, key=lambda size: abs(size - size_px))
        raise SettingsError(
            f"Radiographs cannot be stored at {size_px} px: expected one of {', '.join(map(str, SIZES_PX))}.",
            fix=f"The nearest size is --size {near}.",
        )
    if fit not in ("crop", "pad"):
        raise SettingsError(f"Unknown fit {fit!r}: expected 'crop' or 'pad'.", fix="Choose one of the two.")
    vocabulary = make_vocabulary(findings or ())
    if taken := sorted(set(vocabulary) & set(RESERVED_COLUMNS)):
        raise SettingsError(
            f"A finding cannot be called {taken[0]!r}: the radiograph table has a column of that name.",
            fix="Rename the finding in labels.csv and in --findings.",
        )


def _write_set(out: Path, listing: Listing, settings: dict[str, Any], max_rejects: float, on_status: OnStatus) -> None:
    """Decode everything, then write rejects, pixels and table, and set.json last."""
    rows, vocabulary = listing.rows, tuple(settings["findings"])
    # Whoever wants to read what is written on a published film has it.
    keep, lettering = settings.get("burned_in") == "keep", not settings["terms"]
    how = How(settings["size_px"], settings["fit"], keep, lettering)
    fates = store(out, rows, how, {"settings": settings, "tables": listing.tables}, on_status)
    found = {fate.index: fate.file for fate in fates}
    rejects = [(rows[index], file) for index, file in sorted(found.items()) if isinstance(file, Reject)]
    _write_rejects(out / REJECTS_NAME, rejects, listing.left_out)
    _require_few(rejects, len(rows), max_rejects, out / REJECTS_NAME)
    kept = [(rows[fate.index], fate.file) for fate in fates if isinstance(fate.file, SourceFile)]
    pixels = finish(out, how.size_px)
    with atomic_path(out / TABLE_NAME) as temporary:
        pq.write_table(_make_table(kept, vocabulary), temporary)
    meta = {
        "schema": SCHEMAS[_needs_second(kept)],
        "settings": settings,
        **_inputs(listing, [found[index].sha256 for index in range(len(rows))]),
        **_count(kept, vocabulary, settings["size_px"]),
        "layout": listing.layout,
        **({"left_out": dict(Counter(one.code for one in listing.left_out))} if listing.left_out else {}),
        **({"unmapped": listing.unmapped} if listing.unmapped else {}),
        "ignored_columns": list(listing.ignored_columns),
        "rejected": [{"image": row.image, "code": reject.code, "reason": reject.reason} for row, reject in rejects],
        "files": {path.name: _file_record(path) for path in (*pixels, out / TABLE_NAME, out / REJECTS_NAME)},
        "versions": {"numpy": np.__version__, "pillow": PIL.__version__, "pyarrow": pa.__version__},
    }
    write_json(out / SET_NAME, meta)
    forget(out)


def _write_rejects(path: Path, rejects: Sequence[tuple[Row, Reject]], left_out: Sequence[LeftOut]) -> None:
    """What could not be read, and then what was not to be taken."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(REJECTS_COLUMNS)
    writer.writerows((row.image, reject.sha256, reject.code, reject.reason) for row, reject in rejects)
    writer.writerows((one.image, "", one.code, one.detail) for one in left_out)
    write_bytes(path, text.getvalue().encode())


def _require_few(rejects: Sequence[tuple[Row, Reject]], total: int, max_rejects: float, listed: Path) -> None:
    """Stop where more than the allowed share, or everything, is unreadable."""
    if len(rejects) <= max_rejects * total and len(rejects) < total:
        return
    reasons = Counter(reject.reason for _, reject in rejects).most_common(_NAMED_REASONS)
    told = "; ".join(f"{count:,} x {reason}" for reason, count in reasons)
    raise InputDataError(
        f"{len(rejects):,} of {total:,} radiographs cannot be read ({len(rejects) / total:.1%}, allowed "
        f"{max_rejects:.1%}): {told}. The first is {rejects[0][0].image!r}.",
        fix=f"All are listed in {listed}. Repair or add the files, or remove their lines from the source's table.",
        path=listed,
    )


def _make_table(kept: Sequence[tuple[Row, SourceFile]], vocabulary: tuple[str, ...]) -> pa.Table:
    """The set's table, row for row with the pixels (see `table_schema`)."""
    rows = [row for row, _ in kept]
    columns: dict[str, list[Any]] = {
        "image": [row.image for row in rows],
        "sha256": [file.sha256 for _, file in kept],
        "patient_id": [row.patient for row in rows],
        "view": [row.view for row in rows],
        "age": [row.age for row in rows],
        "sex": [row.sex for row in rows],
        "source": [row.source for row in rows],
        "split": [row.split for row in rows],
        "width": [file.width for _, file in kept],
        "height": [file.height for _, file in kept],
    }
    studies = any(row.study for row in rows)
    if studies:
        columns["study_id"] = [row.study for row in rows]
    for index, name in enumerate(vocabulary):
        columns[name] = [row.labels[index] for row in rows]
    return pa.table(columns, schema=table_schema(vocabulary, studies=studies))


def _needs_second(kept: Sequence[tuple[Row, SourceFile]]) -> bool:
    """Whether the set holds what the first format does not: studies, and uncertain labels, which nobody may learn."""
    return any(row.study or UNCERTAIN in row.labels for row, _ in kept)


def _count(kept: Sequence[tuple[Row, SourceFile]], vocabulary: tuple[str, ...], size_px: int) -> dict[str, Any]:
    """The figures of set.json that describe its radiographs."""
    findings = Counter(
        name for row, _ in kept for name, label in zip(vocabulary, row.labels, strict=True) if label == PRESENT
    )
    splits = Counter(row.split for row, _ in kept)
    return {
        "images": len(kept),
        "patients": len({row.patient for row, _ in kept}),
        "findings": {name: findings[name] for name in vocabulary},
        "splits": {name: splits[name] for name in SPLITS if splits[name]},
        "enlarged": sum(min(file.width, file.height) < size_px for _, file in kept),
        "shared": _find_shared(kept),
        **({"lettered": lettered} if (lettered := [row.image for row, file in kept if file.lettering]) else {}),
    }


def _find_shared(kept: Sequence[tuple[Row, SourceFile]]) -> list[list[str]]:
    """Images that are the same file under two names in different splits: one may be trained on, the other measured."""
    groups: dict[str, list[Row]] = {}
    for row, file in kept:
        groups.setdefault(file.sha256, []).append(row)
    return sorted(
        sorted(row.image for row in group) for group in groups.values() if len({row.split for row in group}) > 1
    )


def _inputs(listing: Listing, sha256s: Sequence[str]) -> dict[str, Any]:
    """What the set was made from, by content: where the source stood and when plays no part."""
    digest = hashlib.sha256()
    for row, sha256 in zip(listing.rows, sha256s, strict=True):
        digest.update(f"{row.image}\n{sha256}\n".encode())
    return {"inputs": {"tables": listing.tables, "images_sha256": digest.hexdigest()}}


def _file_record(path: Path) -> dict[str, Any]:
    return {"sha256": sha256_file(path), "bytes": path.stat().st_size}


def _require_same(done: RadiographSet, listing: Listing, settings: dict[str, Any], on_status: OnStatus) -> None:
    """Check that a finished set is what would be made again now, cheapest comparison first."""
    made = done.meta["settings"]
    for name in sorted(settings.keys() | made.keys()):
        if (found := made.get(name)) != (value := settings.get(name)):
            raise _changed(done, f"was made with {name} {_told(found)}, now asked for: {_told(value)}")
    if done.meta["inputs"]["tables"] != listing.tables:
        raise _changed(done, f"was made from other content of {' or '.join(sorted(listing.tables))}")
    if done.meta["inputs"] != _inputs(listing, _hash_sources(listing.rows, on_status))["inputs"]:
        raise _changed(done, "was made from image files that have changed since")
    done.check_files()


def _hash_sources(rows: Sequence[Row], on_status: OnStatus) -> list[str]:
    """Sha256 of every source, in the order of the rows."""
    sha256s = [""] * len(rows)
    places = read_places([row.place for row in rows])
    for count, (index, sha256) in enumerate(in_order(lambda one: (one[0], source_sha256(one[1])), places), 1):
        sha256s[index] = sha256
        if count % BATCH == 0 or count == len(rows):
            on_status(Status(count, len(rows), "radiographs", "comparing"))
    return sha256s


def _changed(done: RadiographSet, what: str) -> PlanChangedError:
    return PlanChangedError(
        f"The radiograph set {done.folder} {what}.",
        fix="Choose another --out, or remove the folder if nothing was trained on it.",
        path=done.folder,
    )


def _told(value: object) -> str:
    if value is None:
        return "none"
    return (", ".join(map(str, value)) or "none") if isinstance(value, list) else str(value)


def _report(done: RadiographSet) -> IngestReport:
    meta = done.meta
    return IngestReport(
        images=meta["images"],
        patients=meta["patients"],
        findings={name: meta["findings"][name] for name in done.vocabulary},
        splits={name: meta["splits"][name] for name in SPLITS if name in meta["splits"]},
        rejected=meta["rejected"],
        enlarged=meta["enlarged"],
        lettered=meta.get("lettered", []),
        shared=meta["shared"],
        ignored_columns=meta["ignored_columns"],
        left_out=meta.get("left_out", {}),
        unmapped=meta.get("unmapped", {}),
        layout=meta["layout"],
        size_px=done.size_px,
        terms=list(done.terms),
        out=str(done.folder),
        sha256=done.sha256,
    )
