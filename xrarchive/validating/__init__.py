"""Validation, wired: gathers what there is to measure with, calls each part, writes the report.

    gather (material.py): archive or folder, radiographs, weights, features -> Material
    integrity, fidelity, diversity, labels, utility, privacy (one module each): Material -> measures
    gates (xrarchive.validation.gates): measures -> open or closed
    report (xrarchive.validation.report): all of it -> validation.json

`audit` does the same with a folder of images that some other tool made; `waive` accepts closed gates afterwards.

Both sides of the waist meet here; what is measured is in `xrarchive.validation`, torch-free.
"""

from xrarchive.validating.audit import audit, report_path
from xrarchive.validating.validate import PARTS, validate
from xrarchive.validating.waiving import waive

__all__ = ["PARTS", "audit", "report_path", "validate", "waive"]
