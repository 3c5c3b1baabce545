"""Integrity: are the files those of the manifest, and is an image there twice?"""

from __future__ import annotations

from typing import Any

from xrarchive.archive.reader import check_archive
from xrarchive.validating.material import Material
from xrarchive.validation.integrity import measure_integrity


def measure(material: Material) -> dict[str, Any]:
    """See `xrarchive.validation.integrity`."""
    checked = None
    if material.archive is not None:
        checked = check_archive(material.archive, read_data=True, decode=True, on_status=material.on_status)
    return measure_integrity(material.subject, checked)
