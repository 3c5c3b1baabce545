"""Which layout a source has, and the way from there to its listing.

Why by the columns of tables and not by names of files: copies are renamed, columns are not. The user's own labels.csv
comes first, since whoever wrote one means it; folders without a table come last.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from xrarchive.errors import InputDataError, SettingsError
from xrarchive.findings import nearest
from xrarchive.radiographs.csv_table import reading
from xrarchive.radiographs.layouts import (
    chexpert,
    folders,
    hub,
    medmnist,
    mimic,
    nih,
    openi,
    own,
    padchest,
    parquet,
    rsna,
    vindr,
)
from xrarchive.radiographs.layouts import names as names_of
from xrarchive.radiographs.layouts.assembling import assemble, choose_vocabulary
from xrarchive.radiographs.layouts.headers import complete
from xrarchive.radiographs.layouts.names import Names
from xrarchive.radiographs.layouts.rows import Choices, Listing, Reading
from xrarchive.radiographs.layouts.tree import Tree
from xrarchive.radiographs.places import container_kind

# How far up and down a layout is looked for, for a message, when there is none.
_LEVELS = 2
_NAMED_ENTRIES = 5
# What people keep labels in.
_TABLES = (".csv", ".csv.gz", ".csv.zip", ".tsv", ".xlsx", ".xls", ".ods", ".jsonl")


@dataclass(frozen=True)
class Layout:
    """A layout of radiographs.

    Attributes:
        name: As in ``--layout``.
        title: For people.
        names: Its findings.
        recognise: What in a tree speaks for it, None if nothing does.
        read: All its films.
        private: Whether ids in it may be a hospital's own.
        tabled: Whether a table at the top speaks for it.
    """

    name: str
    title: str
    names: Names
    recognise: Callable[[Tree], str | None]
    read: Callable[[Tree, Choices], Reading]
    private: bool = False
    tabled: bool = True


# In the order in which they are tried.
LAYOUTS = (
    Layout(own.LABELS_NAME, "a folder with labels.csv", names_of.OWN, own.recognise_labels, own.read_labels),
    Layout(nih.NAME, "NIH ChestX-ray14", names_of.NIH, nih.recognise, nih.read),
    Layout(mimic.NAME, "MIMIC-CXR-JPG", names_of.CHEXPERT, mimic.recognise, mimic.read),
    Layout(chexpert.NAME, "CheXpert", names_of.CHEXPERT, chexpert.recognise, chexpert.read),
    Layout(vindr.NAME, "VinDr-CXR", names_of.VINDR, vindr.recognise, vindr.read),
    Layout(
        vindr.KAGGLE_NAME,
        "VinDr-CXR's Kaggle edition",
        names_of.VINDR_KAGGLE,
        vindr.recognise_kaggle,
        vindr.read_kaggle,
    ),
    Layout(padchest.NAME, "PadChest", names_of.PADCHEST, padchest.recognise, padchest.read),
    Layout(rsna.NAME, "RSNA Pneumonia Detection Challenge", names_of.RSNA, rsna.recognise, rsna.read),
    Layout(rsna.SIIM_NAME, "SIIM-ACR Pneumothorax Segmentation", names_of.SIIM, rsna.recognise_siim, rsna.read_siim),
    Layout(openi.NAME, "Open-i (Indiana University)", names_of.OPENI, openi.recognise, openi.read),
    Layout(medmnist.CHEST, "ChestMNIST", names_of.CHESTMNIST, medmnist.recognise_chest, medmnist.read_chest),
    Layout(
        medmnist.PNEUMONIA,
        "PneumoniaMNIST",
        names_of.PNEUMONIAMNIST,
        medmnist.recognise_pneumonia,
        medmnist.read_pneumonia,
    ),
    Layout(parquet.NAME, "Parquet files", names_of.OWN, parquet.recognise, parquet.read, tabled=False),
    Layout(own.NAME, "a table beside images", names_of.OWN, own.recognise_table, own.read_own_table),
    Layout(
        folders.IMAGE_FOLDER,
        "a folder for each finding",
        names_of.OWN,
        folders.recognise_image_folder,
        folders.read_image_folder,
        tabled=False,
    ),
    Layout(
        folders.DICOM,
        "a folder of DICOM files",
        names_of.OWN,
        folders.recognise_dicom,
        folders.read_dicom,
        private=True,
    ),
    Layout(
        folders.PLAIN,
        "images without a table",
        names_of.OWN,
        folders.recognise_images,
        folders.read_images,
        tabled=False,
    ),
)
_HUB = Layout(hub.NAME, "a dataset of a Hub", names_of.OWN, parquet.recognise, parquet.read)


def read_listing(source: Path, findings: Sequence[str] | None = None, choices: Choices | None = None) -> Listing:
    """Recognise the layout of `source` and read its tables.

    Args:
        source: A folder or an archive, or ``hf:owner/name@revision``.
        findings: Names for the vocabulary, ("all",) for every finding in the layout's table of names; None for what is
            usual for it.
        choices: What may be chosen about the reading.

    Raises:
        InputDataError: If the source is missing, empty or of no known layout; if a table lacks a column, lists an image
            twice, leaves the folder or names an undeclared finding or split; if a patient is in two splits.
        SettingsError: If something was chosen that the layout does not know.
    """
    choices = choices or Choices()
    with reading(source):
        layout, why, read = _find(source, choices)
        vocabulary = choose_vocabulary(findings, layout.names)
        given = read(dataclasses.replace(choices, findings=vocabulary))
        if layout.name != folders.DICOM:
            given = dataclasses.replace(given, films=complete(given.films))
    own_names = layout.names is names_of.OWN
    known = Names({name: name for name in vocabulary}) if own_names else layout.names
    listing = assemble(given, known, vocabulary, choices, layout.name)
    return dataclasses.replace(listing, why=why, private=layout.private)


def _find(source: Path, choices: Choices) -> tuple[Layout, str, Callable[[Choices], Reading]]:
    """The layout of a source, what speaks for it, and the way to read it."""
    if hub.is_remote(source):
        return _HUB, "its name", lambda known: hub.read(source, known)
    if not source.exists():
        raise InputDataError(
            f"No folder of radiographs at {source}: found nothing.",
            fix=f"Give the folder that holds {own.LABELS_NAME}, or a public set as downloaded.",
            path=source,
        )
    if source.is_file() and container_kind(source) is None:
        raise InputDataError(
            f"{source} is a file, expected a folder or an archive.",
            fix=f"Give the folder that holds it: xrarchive ingest {source.parent}",
            path=source,
        )
    tree = Tree(source)
    layout, why = _named(tree, choices.layout) if choices.layout else _recognise(tree)
    return layout, why, lambda known: layout.read(tree, known)


def _recognise(tree: Tree) -> tuple[Layout, str]:
    """The first layout that something speaks for, and what does."""
    for layout in LAYOUTS:
        if why := layout.recognise(tree):
            if layout.name == folders.PLAIN:
                _require_no_labels(tree)
            return layout, why
    raise _unknown(tree)


def _require_no_labels(tree: Tree) -> None:
    """Refuse to take images for unlabelled where a table lies beside them or one level off.

    Raises:
        InputDataError: Naming the table or the folder.
    """
    tables = [name for name in tree.files if "/" not in name and name.lower().endswith(_TABLES)]
    if tables:
        columns = ", ".join(tree.tables.get(tables[0], ())) or "none that can be read"
        raise InputDataError(
            f"{tree.root} holds images and {', '.join(tables[:_NAMED_ENTRIES])}: expected one table we know. Columns "
            f"of the first: {columns}.",
            fix="Give one table, comma-separated, a column `image` with the paths and a column `labels`, and call it "
            "labels.csv; or say --layout images, for images without labels.",
            path=tree.root / tables[0],
        )
    if near := _nearby(tree):
        raise _wrong_level(tree, *near)


def _named(tree: Tree, name: str) -> tuple[Layout, str]:
    """The layout that was asked for.

    Raises:
        InputDataError: If the source has nothing of it.
        SettingsError: If there is no such layout.
    """
    by_name = {layout.name: layout for layout in LAYOUTS}
    if name not in by_name:
        near = nearest(name, by_name)
        hint = f" Is {near!r} meant?" if near else ""
        raise SettingsError(f"Unknown layout {name!r}.{hint}", fix=f"Give --layout one of: {', '.join(by_name)}.")
    why = by_name[name].recognise(tree)
    if why is None and not by_name[name].tabled:
        why = "nothing else"
    if why is None:
        raise InputDataError(
            f"{tree.root} holds nothing of {by_name[name].title}; {_told_content(tree)}.",
            fix="Leave --layout out to see what it is taken for.",
            path=tree.root,
        )
    return by_name[name], f"--layout, and {why}"


def _unknown(tree: Tree) -> InputDataError:
    """Nothing is recognised here: perhaps one level up or down."""
    if near := _nearby(tree):
        return _wrong_level(tree, *near)
    return InputDataError(
        f"{tree.root} is no known layout of radiographs: {_told_content(tree)}.",
        fix="Write labels.csv with the columns image,labels beside the images, or give a public set as downloaded "
        f"({', '.join(layout.title for layout in LAYOUTS[1:10])}).",
        path=tree.root,
    )


def _wrong_level(tree: Tree, folder: Path, layout: Layout) -> InputDataError:
    return InputDataError(
        f"{tree.root} has no table of its own; {folder} is {layout.title}.",
        fix=f"Give that folder: xrarchive ingest {folder} (or say --layout images, for images without labels).",
        path=tree.root,
    )


def _nearby(tree: Tree) -> tuple[Path, Layout] | None:
    """A folder above or below with a table that is recognised."""
    for folder in (*_above(tree.root), *_below(tree.root)):
        with contextlib.suppress(OSError):  # what we may not look into holds nothing for us
            for layout in LAYOUTS:
                if layout.tabled and layout.recognise(Tree(folder, depth=1)):
                    return folder, layout
    return None


def _above(root: Path) -> list[Path]:
    return list(root.resolve().parents)[:_LEVELS]


def _below(root: Path) -> list[Path]:
    """Folders of the next two levels, few of each."""
    children = _folders(root)
    return [*children, *(path for child in children for path in _folders(child))]


def _folders(root: Path) -> list[Path]:
    with contextlib.suppress(OSError):
        return sorted(path for path in root.iterdir() if path.is_dir())[:_NAMED_ENTRIES]
    return []


def _told_content(tree: Tree) -> str:
    if tree.packed:
        return f"found the file {tree.root.name}"
    names = sorted(path.name for path in tree.root.iterdir())
    more = " ..." if len(names) > _NAMED_ENTRIES else ""
    return f"it holds {', '.join(names[:_NAMED_ENTRIES])}{more}" if names else "it is empty"
