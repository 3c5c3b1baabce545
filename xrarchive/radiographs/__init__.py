"""Radiographs: from folders as they come to the radiograph set every later stage reads.

Read in the order of the data: `layouts` (what the source says), `split` (whose is it), `decode` (one file),
`ingest` (the whole), `table` (the set, opened again).
"""

from xrarchive.radiographs.ingest import IngestReport, ingest
from xrarchive.radiographs.split import SPLITS, patient_folds
from xrarchive.radiographs.table import RadiographSet, open_set

__all__ = ["SPLITS", "IngestReport", "RadiographSet", "ingest", "open_set", "patient_folds"]
