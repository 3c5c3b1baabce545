"""The films of `bench_class_gans.py`: both sets as one table without twins, and radiograph sets made of parts of it."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from xrarchive.files import sha256_bytes
from xrarchive.pixels import Pixels, encode_png
from xrarchive.radiographs import ingest, open_set

PX = 32
LEARNED_SPLITS, HELD_OUT_SPLITS = ("train", "unlabelled"), ("validation", "test")

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Films:
    """All radiographs there are, row for row: N films, K findings; films with equal pixels stand here once.

    Attributes:
        pixels: uint8 [N, 32, 32].
        labels: float32 [N, K]: 1, 0, NaN = unknown.
        vocabulary: Names of the K findings.
        words: Per column of labels.csv but `image` and `labels`, str [N].
    """

    pixels: Pixels
    labels: npt.NDArray[np.float32]
    vocabulary: tuple[str, ...]
    words: dict[str, npt.NDArray[np.str_]]

    def among(self, splits: Sequence[str]) -> Mask:
        """Whose split is one of these."""
        found: Mask = np.isin(self.words["split"], splits)
        return found

    def bearing(self, finding: str) -> Mask:
        """Whose label names it."""
        found: Mask = self.labels[:, self.vocabulary.index(finding)] == 1
        return found

    @property
    def known(self) -> Mask:
        """Who have a label."""
        found: Mask = ~np.isnan(self.labels).all(axis=1)
        return found


def gather(data: Path, work: Path) -> Films:
    """Both sets at 32 px, without twins."""
    parts = []
    for name in ("nih64", "mednist"):
        ingest(data / name, work / f"{name}-{PX}", size_px=PX)
        found = open_set(work / f"{name}-{PX}")
        columns = ("patient_id", "split", "view", "sex", "source")
        words = {column: np.array(found.table[column].to_pylist(), np.str_) for column in columns}
        words["age"] = np.array(["" if age is None else str(age) for age in found.table["age"].to_pylist()], np.str_)
        parts.append(Films(np.array(found.pixels), found.labels, found.vocabulary, words))
    assert parts[0].vocabulary == parts[1].vocabulary
    films = Films(
        np.concatenate([part.pixels for part in parts]),
        np.concatenate([part.labels for part in parts]),
        parts[0].vocabulary,
        {name: np.concatenate([part.words[name] for part in parts]) for name in parts[0].words},
    )
    return chosen(films, distinct(films.pixels, films.among(LEARNED_SPLITS), films.known))


def distinct(pixels: Pixels, learned: Mask, known: Mask) -> Mask:
    """One film of each picture: one that is held out rather than learned from, then one with a label, then the first.

    A film that is also held out under another name is so not learned from.
    """
    hashes = [sha256_bytes(plane.tobytes()) for plane in pixels]
    order = sorted(range(len(hashes)), key=lambda row: (bool(learned[row]), not known[row], row))
    best: dict[str, int] = {}
    for row in order:
        best.setdefault(hashes[row], row)
    kept = np.zeros(len(hashes), np.bool_)
    kept[list(best.values())] = True
    return kept


def chosen(films: Films, mask: Mask) -> Films:
    words = {name: column[mask] for name, column in films.words.items()}
    return Films(films.pixels[mask], films.labels[mask], films.vocabulary, words)


def write_set(films: Films, mask: Mask, folder: Path) -> Path:
    """A radiograph set of some films, named by what is in it; all learned from."""
    some = chosen(films, mask)
    key = sha256_bytes(some.pixels.tobytes() + repr((some.labels.tolist(), some.words["patient_id"].tolist())).encode())
    out, source = folder / f"set-{key[:12]}", folder / f"source-{key[:12]}"
    if not (out / "set.json").exists():
        (source / "images").mkdir(parents=True, exist_ok=True)
        rows = ["image,labels,patient_id,split,view,sex,source,age"]
        for row, plane in enumerate(some.pixels):
            name = f"images/{row:06d}.png"
            (source / name).write_bytes(encode_png(plane))
            found = [finding for finding, label in zip(some.vocabulary, some.labels[row], strict=True) if label == 1]
            others = [some.words[column][row] for column in ("view", "sex", "source", "age")]
            rows.append(",".join([name, "|".join(found), some.words["patient_id"][row], "train", *others]))
        (source / "labels.csv").write_text("\n".join(rows) + "\n")
        ingest(source, out, size_px=PX)
        shutil.rmtree(source)
    return out
