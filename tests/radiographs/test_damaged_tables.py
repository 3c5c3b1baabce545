"""Tables of every layout with bytes changed: a listing or one of our messages, never a traceback."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import published_trees as trees
import pytest
from published_trees import png, put, write_csv
from tiny_source import write_nih

from xrarchive.errors import XrArchiveError
from xrarchive.radiographs.layouts import Choices, Listing, read_listing

QUICK, WHOLE = 12, 400
WORDS = [
    b'"',
    b",",
    b"\n",
    b"\r",
    b"\0",
    b"|",
    b";",
    b"\xff",
    b"\xef\xbb\xbf",
    b"../",
    b"1e999",
    b"-1",
    b"nan",
    b"[" * 300,
]
WORDS += [b"9" * 40, b"'" * 3, b"{", b"null", b"<!DOCTYPE a [<!ENTITY b 'c'>]>", b"", b"\xed\xa0\x80", b" " * 1000]


def jsonl(root: Path) -> None:
    lines = [f'{{"file_name": "{i}.png", "labels": ["Effusion"], "patient": {i}}}\n' for i in range(6)]
    put(root / "metadata.jsonl", "".join(lines).encode())
    put(root / "0.png", png(0))


def columns(root: Path) -> None:
    write_csv(root / "films.csv", [{"path": f"{i}.png", "Effusion": str(i % 2), "Mass": ""} for i in range(6)])
    put(root / "0.png", png(0))


# How a tree is made, and the table of it that is changed.
SOURCES: dict[str, tuple[Callable[[Path], object], str]] = {
    "nih": (write_nih, "Data_Entry_2017_v2020.csv"),
    "chexpert": (lambda root: trees.write_chexpert(root, batches=False), "train.csv"),
    "mimic": (trees.write_mimic, "mimic-cxr-2.0.0-metadata.csv.gz"),
    "vindr": (lambda root: trees.write_vindr(root, kaggle=False), "annotations/image_labels_train.csv"),
    "vindr-kaggle": (lambda root: trees.write_vindr(root, kaggle=True), "train.csv"),
    "padchest": (trees.write_padchest, trees.PADCHEST),
    "rsna": (trees.write_rsna, "stage_2_train_labels.csv"),
    "siim": (trees.write_siim, "train-rle.csv"),
    "open-i": (trees.write_openi, "NLMCXR_reports.tgz"),
    "chestmnist": (lambda root: trees.write_chestmnist(root, 28), "chestmnist.npz"),
    "jsonl": (jsonl, "metadata.jsonl"),
    "columns": (columns, "films.csv"),
}


def mutate(data: bytes, chance: random.Random) -> bytes:
    """One to four changes: bytes replaced, words put in, parts cut out, doubled or moved."""
    changed = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        start = chance.randrange(len(changed) + 1)
        stop = min(len(changed), start + chance.choice([1, 3, 40, 400]))
        kind = chance.randrange(5)
        if kind == 0:
            changed[start:stop] = bytes(chance.randrange(256) for _ in range(stop - start))
        elif kind == 1:
            changed[start:start] = chance.choice(WORDS)
        elif kind == 2:
            del changed[start:stop]
        elif kind == 3:
            changed[start:start] = changed[start:stop]
        else:
            del changed[start:]
    return bytes(changed)


def attempt(root: Path, choices: Choices, told: str) -> Listing | XrArchiveError:
    """What comes of a source; anything but a listing or a message of ours fails the test."""
    try:
        return read_listing(root, None, choices)
    except XrArchiveError as err:
        return err
    except Exception as err:
        raise AssertionError(told) from err


@pytest.mark.parametrize("count", [QUICK, pytest.param(WHOLE, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", SOURCES)
def test_a_listing_or_a_message(tmp_path: Path, name: str, count: int) -> None:
    make, table = SOURCES[name]
    root = tmp_path / "source"
    make(root)
    whole = (root / table).read_bytes()
    named = read_listing(root).layout
    kept = shutil.copy(root / table, tmp_path / "whole")
    chance = random.Random(f"{name}:{count}")
    for number in range(count):
        data = mutate(whole, chance)
        (root / table).write_bytes(data)
        choices = Choices(layout=None if number % 2 else named)
        found = attempt(root, choices, f"mutant {number} of {name}: {data[:2000]!r}")
        if isinstance(found, Listing):
            assert {label for row in found.rows for label in row.labels} <= {1, 0, -1, None}
            assert not any(".." in row.image.split("/") for row in found.rows)
        else:
            assert found.message
            assert found.fix
    assert Path(kept).read_bytes() == whole
