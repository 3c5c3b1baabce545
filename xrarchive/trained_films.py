"""Which films was a generator trained on? Its weight file holds the first 4 bytes of the sha256 of each film's pixels.

So an audit can be made with exactly those films, wherever they are kept: whoever has the radiographs finds the rows,
and who has them not learns nothing but how many there were. 16,000 films are 64 kB. Two films share 4 bytes by chance
once in 4 billion pairs: among 300,000 strangers one is taken for one of 16,000 named films.

Torch-free; `gan/snapshots.py` writes the names, and `gan/training.py` collects them.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open

from xrarchive.errors import DamageError
from xrarchive.files import write_bytes

if TYPE_CHECKING:
    from xrarchive.radiographs import RadiographSet

# Of the tensor in a weight file.
FILMS = "films"
PREFIX_BYTES = 4
# Weights may be published if nothing tells these films from others with an AUROC above this, at the upper end.
ATTACK_BAR = 0.6
Names = npt.NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class FilmsAtHand:
    """The films a generator was trained on, as far as they are in some radiograph sets.

    Attributes:
        known: How many different films the weights name; 0 = they name none.
        at_hand: How many of those are in the sets.
        rows: int64 for each set, the rows that hold them, every repetition included.
        note: A sentence that says so.
    """

    known: int
    at_hand: int
    rows: tuple[npt.NDArray[np.int64], ...]
    note: str


def film_names(radiographs: RadiographSet, rows: npt.NDArray[np.int64]) -> Names:
    """uint8 [N, 4], ascending and each once: the names of these films. Reads all their pixels."""
    return _unique(bytes.fromhex(sha256)[:PREFIX_BYTES] for sha256 in radiographs.film_hashes(rows))


def join_names(*parts: Names) -> Names:
    """All names, ascending and each once: uint8 [N, 4]."""
    return _unique(name.tobytes() for part in parts for name in part)


def read_names(weights: Path) -> Names | None:
    """The names in a weight file, uint8 [N, 4]; None if it holds none.

    Raises:
        DamageError: If it is not a readable safetensors file, or names are not [N, 4] bytes.
    """
    try:
        with safe_open(weights, framework="numpy") as stream:
            if FILMS not in stream.keys():  # noqa: SIM118  (not a mapping)
                return None
            found: Names = stream.get_tensor(FILMS)
    except (SafetensorError, OSError) as err:
        raise DamageError(
            f"{weights} is not a readable safetensors file: {err}.", fix="Get the file again.", path=weights
        ) from err
    if found.dtype != np.uint8 or found.ndim != 2 or found.shape[1] != PREFIX_BYTES:
        raise DamageError(
            f"{weights}: films are named by uint8 [N, {PREFIX_BYTES}], found {found.dtype} {list(found.shape)}.",
            fix="Get the file again.",
            path=weights,
        )
    return found


def films_at_hand(weights: Path, sets: Sequence[RadiographSet]) -> FilmsAtHand:
    """How many of the films the weights were trained on are in the sets, and where.

    Only a set of the size the generator was trained at holds the same pixels.

    Args:
        weights: A generator's weight file.
        sets: Radiograph sets, any number.

    Raises:
        DamageError: If a file cannot be read.
    """
    names = read_names(weights)
    if names is None:
        empty = tuple(np.empty(0, np.int64) for _ in sets)
        return FilmsAtHand(0, 0, empty, "The weights do not say which films they were trained on.")
    wanted = {name.tobytes() for name in names}
    found: set[bytes] = set()
    rows = []
    for radiographs in sets:
        here = [bytes.fromhex(sha256)[:PREFIX_BYTES] for sha256 in radiographs.film_hashes(np.arange(len(radiographs)))]
        rows.append(np.flatnonzero([name in wanted for name in here]).astype(np.int64))
        found |= wanted.intersection(here)
    note = f"{len(found):,} of the {len(wanted):,} films the weights were trained on are in the radiographs given" + (
        "." if len(found) == len(wanted) else "; copies of the others cannot be found."
    )
    return FilmsAtHand(len(wanted), len(found), tuple(rows), note)


def load_names(path: Path) -> Names | None:
    """What `save_names` wrote; None if there is nothing readable."""
    try:
        found: Names = np.load(path, allow_pickle=False)
    except (OSError, EOFError, ValueError):
        return None
    return found if found.dtype == np.uint8 and found.ndim == 2 and found.shape[1] == PREFIX_BYTES else None


def save_names(path: Path, names: Names) -> None:
    """Write uint8 [N, 4] as .npy, atomically."""
    stream = io.BytesIO()
    np.save(stream, names)
    write_bytes(path, stream.getvalue())


def _unique(names: Iterable[bytes]) -> Names:
    return np.frombuffer(b"".join(sorted(set(names))), np.uint8).reshape(-1, PREFIX_BYTES)
