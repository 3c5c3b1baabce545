"""96 generated films of 48 patients, 16 px: no patient anywhere. A finding is a bright blob in its own place."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

TINY_FINDINGS = ("Effusion", "Mass")
TINY_PX = 16
_FILMS, _FILMS_PER_PATIENT = 96, 2
_BLOB_CENTRES = {"Effusion": (12, 3), "Mass": (3, 12)}
_LABELS = ("No Finding", "Effusion", "Mass", "No Finding", "Effusion", "No Finding", "Mass", "Effusion|Mass")
# By patient, so that no patient is in two splits: of 16 patients 11 train, 1 validation, 3 test, 1 holdout.
_SPLITS = ("train", "train", "test", "train") * 3 + ("train", "val", "train", "holdout")


def tiny_film(index: int, findings: Sequence[str], size_px: int = TINY_PX) -> npt.NDArray[np.uint8]:
    """uint8 [size, size]: a dim gradient and noise, a bright mark at the left edge, a blob per finding.

    A blob may be too faint to see, and some films have a faint one without the label: labels as they come.
    """
    rng = np.random.default_rng((7, index))
    y, x = np.mgrid[:size_px, :size_px] * (TINY_PX / size_px)
    film = 40 + 2 * y + 6 * rng.standard_normal((size_px, size_px))
    film[:, : size_px // 8] += 25
    for finding, centre in _BLOB_CENTRES.items():
        strength = rng.uniform(40, 150) if finding in findings else rng.choice([0, 0, 0, 60])
        top, left = centre + rng.uniform(-1, 1, 2)
        film += strength * np.exp(-((y - top) ** 2 + (x - left) ** 2) / 8)
    return np.clip(film, 0, 255).astype(np.uint8)


def write_tiny_source(source: Path) -> Path:
    """The tiny films in the labels.csv layout."""
    (source / "images").mkdir(parents=True)
    with (source / "labels.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(("image", "labels", "patient_id", "split", "view"))
        for index in range(_FILMS):
            patient = index // _FILMS_PER_PATIENT
            labels = _LABELS[(index + patient // 8) % len(_LABELS)]
            image, view = f"images/{index:04}.png", ("PA", "AP")[(patient // 3) % 2]
            Image.fromarray(tiny_film(index, labels.split("|"))).save(source / image)
            writer.writerow((image, labels, f"p{patient}", _SPLITS[patient % len(_SPLITS)], view))
    return source
