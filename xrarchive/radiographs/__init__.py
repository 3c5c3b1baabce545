"""Radiographs: from folders as they come to the radiograph set every later stage reads.

Read in the order of the data: `places` (where bytes are), `layouts` (what the source says), `split` (whose is it),
`survey` (what would be taken), `privacy` (what may stay), `dicom` and `decode` (one file), `lettering` (is anything
written on it), `worker` and `workers` (on all cores), `store` (stopped and gone on with), `ingest` (the whole), `table`
(the set, opened again), `likeness` and `overview` (what is in it).
"""

from xrarchive.radiographs.ingest import IngestReport, ingest
from xrarchive.radiographs.layouts import Choices
from xrarchive.radiographs.split import SPLITS, patient_folds
from xrarchive.radiographs.survey import Survey, survey
from xrarchive.radiographs.table import RadiographSet, open_set

__all__ = [
    "SPLITS",
    "Choices",
    "IngestReport",
    "RadiographSet",
    "Survey",
    "ingest",
    "open_set",
    "patient_folds",
    "survey",
]
