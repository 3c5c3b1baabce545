"""`waive`: accept closed gates of a validation that is there, without measuring anything again.

In: an archive with its validation.json. Out: the same figures, the named gates waived with their reason, and the page.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from xrarchive.archive.manifest import REPORT_NAME, VALIDATION_NAME, read_manifest
from xrarchive.archive.sums import write_sums
from xrarchive.errors import GateError
from xrarchive.files import read_json, write_json
from xrarchive.validating.material import open_subject
from xrarchive.validating.validate import write_page
from xrarchive.validation import SCHEMA
from xrarchive.validation.gates import Gate, gates_section, waive_gates


def waive(archive_dir: Path, waivers: Mapping[str, str]) -> dict[str, Any]:
    """Write validation.json and report.html anew with closed gates waived; returns the content of the former.

    Args:
        archive_dir: A validated archive.
        waivers: By gate that is closed, why it is accepted; recorded in the report.

    Raises:
        InputDataError: If there is no archive, or it was not validated.
        GateError: If its validation is of other content or of another version.
        SettingsError: If a waiver names no closed gate or gives no reason.
        DamageError: If a shard cannot be read.
    """
    manifest, fix = read_manifest(archive_dir), f"Run `xrarchive validate {archive_dir}` first."
    report = read_json(archive_dir / VALIDATION_NAME, what="validation", fix=fix)
    if (report.get("schema"), report.get("manifest_sha256")) != (SCHEMA, manifest.sha256):
        raise GateError(
            f"The validation in {archive_dir} is not of this archive as it is: {report.get('schema')} of the manifest "
            f"{str(report.get('manifest_sha256'))[:12]}, expected {SCHEMA} of {manifest.sha256[:12]}.",
            fix=fix,
            path=archive_dir,
        )
    gates = waive_gates([Gate(**gate) for gate in report["gates"]["list"]], waivers)
    report = {**report, "gates": gates_section(gates)}
    write_json(archive_dir / VALIDATION_NAME, report)
    write_page(archive_dir / REPORT_NAME, open_subject(archive_dir, manifest), report)
    write_sums(archive_dir, manifest)
    return report
