"""What DICOM headers add where the table of a set is silent: view, age and sex. Pixels are not decoded.

Patient and study of a public set are its table's; only of a folder of DICOM files without table do they come from here.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from xrarchive.errors import InputDataError
from xrarchive.radiographs.dicom import DicomFacts, read_dicom_headers
from xrarchive.radiographs.layouts.rows import Film
from xrarchive.radiographs.places import Place
from xrarchive.radiographs.reasons import UnfitError

SUFFIXES = (".dcm", ".dicom")


def read_facts(places: Sequence[Place]) -> dict[int, DicomFacts | None]:
    """The facts of each place by its index, None where it is no DICOM.

    Raises:
        InputDataError: If pydicom is not installed.
    """
    try:
        return dict(read_dicom_headers(places))
    except UnfitError as err:
        raise InputDataError(
            f"The source holds DICOM files: {err}.", fix='Install it: pip install "xrarchive[dicom]"'
        ) from err


def complete(films: Sequence[Film]) -> tuple[Film, ...]:
    """The films, those in DICOM files with view, age and sex where they had none."""
    silent = [index for index, film in enumerate(films) if _is_silent(film)]
    facts = read_facts([films[index].place for index in silent]) if silent else {}
    done = list(films)
    for number, index in enumerate(silent):
        if found := facts.get(number):
            film = films[index]
            done[index] = dataclasses.replace(
                film, view=film.view or found.view, age=film.age or found.age, sex=film.sex or found.sex
            )
    return tuple(done)


def _is_silent(film: Film) -> bool:
    name = (film.place.member or film.place.path.name).lower()
    return film.found and not film.view and name.endswith(SUFFIXES)
