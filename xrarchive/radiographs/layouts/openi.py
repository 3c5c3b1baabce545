"""Open-i, the Indiana University chest X-rays: reports as XML in ecgen-radiology/ or NLMCXR_reports.tgz, images beside.

Labels are the manual (major) MeSH codes of a report, by their heading alone: "Cardiomegaly/borderline" is cardiomegaly.
A report codes what is there; what it does not code counts as absent. "No Indexing" says nothing.

The XML does not tell views. nlmcxr_dicom_metadata.csv(.gz), if it lies there, does for about two thirds of the films,
and DICOM files do themselves; with PNGs alone laterals cannot be told from frontal films, and a note says so.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import PurePosixPath

from xrarchive.errors import InputDataError
from xrarchive.files import sha256_bytes
from xrarchive.radiographs.layouts.names import OPENI, PAIRS
from xrarchive.radiographs.layouts.rows import PRESENT, Answers, Choices, Film, Reading
from xrarchive.radiographs.layouts.tree import Tree

NAME = "open-i"
_FOLDER = "ecgen-radiology"
_REPORTS = ("NLMCXR_reports.tgz", "NLMCXR_reports.tar", "NLMCXR_reports.zip")
_METADATA = ("imageid", "View Position")
_FACTS = ("Patient's Sex", "Patient's Birth Date", "Study Date", "Patient Orientation")
# Directions of a film's rows and columns (DICOM PS3.3 C.7.6.1.1.1): front to back is a film from the side.
_FROM_THE_SIDE = frozenset("AP")


def recognise(tree: Tree) -> str | None:
    """Where the reports are."""
    archive = next((name for name in _REPORTS if name in tree.files), None)
    return archive or (_FOLDER if any(_is_report(name) for name in tree.files) else None)


def read(tree: Tree, _: Choices) -> Reading:
    """Every image that a report names."""
    entries = tree.files if recognise(tree) == _FOLDER else tree.members
    names = sorted(name for name in entries if _is_report(name))
    reports = tree.read_many(names)
    facts, tables = _read_facts(tree)
    find = tree.find_images()
    films: list[Film] = []
    for name in names:
        patient, answers, images = parse_report(reports[name], tree.root / name)
        for image_id in images:
            # The DICOM files have the names of the images without "CXR".
            image, place, found = max(
                find(f"{image_id}.png"), find(f"{image_id.removeprefix('CXR')}.dcm"), key=lambda one: one[2]
            )
            view, age, sex = facts.get(image_id, ("", "", ""))
            films.append(
                Film(
                    image=image,
                    place=place,
                    patient=patient,
                    answers=answers,
                    complete=True,
                    study=patient,
                    view=view,
                    age=age,
                    sex=sex,
                    source=NAME,
                    found=found,
                )
            )
    digest = sha256_bytes("\n".join(f"{name} {sha256_bytes(reports[name])}" for name in names).encode())
    unknown = sum(not film.view for film in films)
    notes = (f"The view of {unknown:,} films is unknown; laterals may be among them.",) if unknown else ()
    return Reading(tuple(films), {_FOLDER: digest, **tables}, (), (NAME,), notes)


def parse_report(data: bytes, path: object) -> tuple[str, Answers | None, tuple[str, ...]]:
    """Patient, what the codes say, and the ids of the images of one report.

    Raises:
        InputDataError: If it is no report of Open-i. Documents that declare entities are not read.
    """
    try:
        if b"<!" in data.replace(b"<!--", b""):
            raise ET.ParseError("it declares a document type")
        root = ET.fromstring(data)
        patient = root.find("uId").attrib["id"]  # type: ignore[union-attr]
    except (ET.ParseError, AttributeError, KeyError) as err:
        raise InputDataError(
            f"{path} is no report of Open-i: {err}.", fix="Download the reports again.", path=str(path)
        ) from err
    headings = dict.fromkeys((code.text or "").split("/")[0].strip() for code in root.iterfind("MeSH/major"))
    said = [part for word in headings if word not in OPENI.remarks for part in PAIRS.get(word, (word,)) if part]
    images = tuple(image.attrib.get("id", "") for image in root.iterfind("parentImage"))
    return patient, tuple((word, PRESENT) for word in said) or None, images


def _is_report(name: str) -> bool:
    return name.endswith(".xml") and PurePosixPath(name).parent.name == _FOLDER


def _read_facts(tree: Tree) -> tuple[dict[str, tuple[str, str, str]], dict[str, str]]:
    """View, age and sex by image id, from the table of DICOM headers; and its sha256."""
    name = next((name for name, columns in tree.tables.items() if set(_METADATA) <= set(columns)), None)
    if name is None:
        return {}, {}
    table = tree.table(name, _METADATA, _FACTS)
    found = {}
    for _, cells in table.records:
        born, taken = cells.get("Patient's Birth Date", "")[:4], cells.get("Study Date", "")[:4]
        age = str(int(taken) - int(born)) if born.isdigit() and taken.isdigit() else ""
        found[cells["imageid"]] = (_view(cells), age, cells.get("Patient's Sex", ""))
    return found, {name: table.sha256}


def _view(cells: dict[str, str]) -> str:
    if cells["View Position"]:
        return cells["View Position"]
    row = cells.get("Patient Orientation", "").strip("[]'\" ")[:1]
    return "LATERAL" if row and row in _FROM_THE_SIDE else ""
