"""MIMIC-CXR-JPG: labels per study, joined to films on subject and study.

mimic-cxr-2.0.0-chexpert.csv(.gz), or -negbio where that is absent, -metadata, -split; the manual labels of 2.1.0's test
set if there; files/p10/p10000032/s50414267/<dicom_id>.jpg. Labels are as in CheXpert. A film whose study has no line
among the labels is unlabelled.
"""

from __future__ import annotations

from xrarchive.errors import InputDataError
from xrarchive.radiographs.csv_table import LabelTable, require_distinct, require_unmangled
from xrarchive.radiographs.layouts.chexpert import FINDINGS, parse_answers
from xrarchive.radiographs.layouts.rows import Answers, Choices, Film, Reading
from xrarchive.radiographs.layouts.tree import Tree
from xrarchive.radiographs.split import parse_split

NAME = "mimic-cxr-jpg"
_TERMS = "physionet-credentialed"
_KEY = ("subject_id", "study_id")
_SPLIT_WORDS = {"validate": "validation"}


def recognise(tree: Tree) -> str | None:
    """The name of the table of metadata, where labels are there as well."""
    metadata = _find(tree, "metadata")
    return metadata if metadata and (_find(tree, "chexpert") or _find(tree, "negbio")) else None


def read(tree: Tree, _: Choices) -> Reading:
    """Every film of the metadata, with the labels of its study."""
    metadata = tree.table(str(_find(tree, "metadata")), ("dicom_id", *_KEY), ("ViewPosition",))
    name = _find(tree, "chexpert") or str(_find(tree, "negbio"))
    labels = tree.table(name, (*_KEY, *_findings(tree, name)))
    answers, tables = _by_study(labels), {metadata.path.name: metadata.sha256, labels.path.name: labels.sha256}
    splits, notes = {}, []
    if split_name := _find(tree, "split"):
        table = tree.table(split_name, ("dicom_id", "split"))
        splits = {cells["dicom_id"]: _split(cells["split"], table.where(line)) for line, cells in table.records}
        tables[table.path.name] = table.sha256
    if manual_name := _find(tree, "test-set-labeled"):
        table = tree.table(manual_name, ("study_id", *_findings(tree, manual_name)))
        manual = {cells["study_id"]: parse_answers(cells, table.where(line)) for line, cells in table.records}
        answers |= {key: manual[key[1]] for key in answers if key[1] in manual}
        tables[table.path.name] = table.sha256
        notes.append(f"{len(manual):,} studies have the labels of {table.path.name}, which radiologists gave.")
    films = _films(tree, metadata, answers, splits)
    unlabelled = sum(film.answers is None for film in films)
    if unlabelled:
        notes.append(f"{unlabelled:,} films belong to a study without labels; they are unlabelled.")
    return Reading(tuple(films), tables, (), (_TERMS,), tuple(notes))


def _films(
    tree: Tree, metadata: LabelTable, answers: dict[tuple[str, str], Answers], splits: dict[str, str]
) -> list[Film]:
    find = tree.find_images()
    films = []
    for line, cells in metadata.records:
        subject, study, dicom = (
            require_unmangled(cells[name], where=metadata.where(line)) for name in (*_KEY, "dicom_id")
        )
        image, place, found = find(f"files/p{subject[:2]}/p{subject}/s{study}/{dicom}.jpg")
        films.append(
            Film(
                image=image,
                place=place,
                patient=subject,
                split=splits.get(dicom, ""),
                answers=answers.get((subject, study)),
                study=study,
                view=cells.get("ViewPosition", ""),
                source=NAME,
                found=found,
            )
        )
    require_distinct([film.image for film in films], metadata)
    if splits and (without := sum(not film.split for film in films)):
        raise InputDataError(
            f"{without:,} of {len(films):,} films of {metadata.path.name} stand in no split.",
            fix="Take metadata and split from the same version of MIMIC-CXR-JPG.",
            path=metadata.path,
        )
    return films


def _by_study(table: LabelTable) -> dict[tuple[str, str], Answers]:
    found: dict[tuple[str, str], Answers] = {}
    for line, cells in table.records:
        key = (cells["subject_id"], cells["study_id"])
        if key in found:
            raise InputDataError(
                f"{table.where(line)}: study {key[1]} was already listed.", fix="Download the table again."
            )
        found[key] = parse_answers(cells, table.where(line))
    return found


def _find(tree: Tree, word: str) -> str | None:
    tables = [name for name in tree.tables if name.startswith("mimic-cxr-2.") and f"-{word}." in name]
    return tables[-1] if tables else None


def _findings(tree: Tree, table: str) -> tuple[str, ...]:
    return tuple(name for name in tree.tables[table] if name in FINDINGS)


def _split(word: str, where: str) -> str:
    return parse_split(_SPLIT_WORDS.get(word, word), where=where)
