"""Reference statistics: features of real radiographs to measure an archive against, in one safetensors file.

Feature rows and not means, so that kernel distances and real-versus-real floors at equal N can be computed. A space is
usable only with the network that made it, so each carries that network's fingerprint. Patients are numbers without
meaning outside the file: what is shipped or published holds no patient id.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from xrarchive.bootstrap import group_codes, make_rng
from xrarchive.errors import DamageError, InputDataError
from xrarchive.files import write_bytes

# Enough for a kernel distance with an interval of a few hundredths; 1,000 x 1,280 float16 are 2.6 MB.
REFERENCE_ROWS = 1000

_FORMAT = 1
_KEY = "xrarchive"
_PATIENTS = "patients"
_SPACE = "space."
_FIX = "Make it again from a radiograph set, or leave the option out to use the bundled one."


@dataclass(frozen=True)
class Reference:
    """Features of real radiographs.

    Attributes:
        name: What a table calls it.
        spaces: float16 or float32 [N, D] per feature space; row i is the same radiograph in all of them.
        fingerprints: Per feature space, the sha256 of the weights that made it.
        patients: int64 [N], equal for films of one patient; None if patients are unknown.
        source: One sentence: which radiographs, drawn how, seen by which network in training.
    """

    name: str
    spaces: Mapping[str, npt.NDArray[np.floating]]
    fingerprints: Mapping[str, str]
    patients: npt.NDArray[np.int64] | None
    source: str

    @property
    def rows(self) -> int:
        """Radiographs in the reference."""
        return len(next(iter(self.spaces.values())))


def make_reference(
    name: str,
    spaces: Mapping[str, npt.NDArray[np.floating]],
    *,
    fingerprints: Mapping[str, str],
    patients: npt.ArrayLike | None,
    source: str,
    rows: int | None = None,
    seed: int = 0,
) -> Reference:
    """A reference from features of real radiographs, at most `rows` of them drawn at random.

    Args:
        name: What a table calls it.
        spaces: [N, D] per feature space, row i the same radiograph in all.
        fingerprints: sha256 of the weights behind each space.
        patients: [N] patient ids, blank = a patient of its own; None = unknown. Only who shares a patient is kept.
        source: One sentence for the card.
        rows: Keep this many; None keeps all.
        seed: Of the draw.

    Raises:
        ValueError: If spaces differ in length, none is given, or one has no fingerprint.
        InputDataError: If a feature is NaN or infinite.
    """
    counts = {space: len(values) for space, values in spaces.items()}
    if len(set(counts.values())) != 1:
        raise ValueError(f"feature spaces must hold the same radiographs, got rows {counts}")
    if set(spaces) != set(fingerprints):
        raise ValueError(f"spaces {sorted(spaces)} need fingerprints, got {sorted(fingerprints)}")
    for space, values in spaces.items():
        require_finite(values, what=f"Reference {name!r}, feature space {space!r}")
    total = next(iter(counts.values()))
    keep = np.arange(total)
    if rows is not None and rows < total:
        keep = np.sort(make_rng(seed, "reference").choice(total, rows, replace=False))
    codes = None if patients is None else np.unique(group_codes(patients, total)[keep], return_inverse=True)[1]
    return Reference(
        name,
        {space: np.asarray(values)[keep] for space, values in spaces.items()},
        dict(fingerprints),
        None if codes is None else codes.astype(np.int64),
        source,
    )


def save_reference(path: Path, reference: Reference) -> None:
    """Write the reference as float16, atomically; the same reference always gives the same bytes.

    Raises:
        ValueError: If it holds more than `REFERENCE_ROWS` rows; draw fewer with ``make_reference(rows=...)``.
        InputDataError: If a feature does not fit into float16.
        StorageError: If the disk refuses.
    """
    if reference.rows > REFERENCE_ROWS:
        raise ValueError(f"a reference file holds up to {REFERENCE_ROWS} rows, got {reference.rows}")
    tensors: dict[str, npt.NDArray[np.generic]] = {}
    for space in sorted(reference.spaces):
        with np.errstate(over="ignore"):  # an overflow becomes infinity and is refused with a reason
            half = np.ascontiguousarray(reference.spaces[space], dtype=np.float16)
        require_finite(half, what=f"Reference {reference.name!r}, feature space {space!r} as float16")
        tensors[_SPACE + space] = half
    if reference.patients is not None:
        tensors[_PATIENTS] = np.ascontiguousarray(reference.patients, dtype=np.int64)
    header = {
        "format": _FORMAT,
        "kind": "reference",
        "name": reference.name,
        "source": reference.source,
        "fingerprints": dict(reference.fingerprints),
    }
    # One metadata entry, because safetensors does not keep several in a stable order.
    write_bytes(path, save(tensors, metadata={_KEY: json.dumps(header, sort_keys=True)}))


def load_reference(path: Path) -> Reference:
    """Read a reference file.

    Raises:
        InputDataError: If it is missing, something else, or holds NaN or infinity.
        DamageError: If it is not a readable safetensors file.
    """
    try:
        with safe_open(path, framework="numpy") as stream:
            header = json.loads((stream.metadata() or {}).get(_KEY, "null"))
            tensors = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118  (not a mapping)
    except FileNotFoundError as err:
        raise InputDataError(f"No reference statistics at {path}.", fix=_FIX, path=path) from err
    except (SafetensorError, json.JSONDecodeError, UnicodeDecodeError, OSError) as err:
        raise DamageError(f"{path} is not a readable safetensors file: {err}.", fix=_FIX, path=path) from err
    if not isinstance(header, dict) or header.get("kind") != "reference" or header.get("format") != _FORMAT:
        found = f"{header.get('kind')!r}, format {header.get('format')}" if isinstance(header, dict) else "no metadata"
        raise InputDataError(
            f"{path}: expected reference statistics, format {_FORMAT}, found {found}.", fix=_FIX, path=path
        )
    patients = tensors.pop(_PATIENTS, None)
    spaces = {name.removeprefix(_SPACE): values for name, values in tensors.items()}
    for space, values in spaces.items():
        require_finite(values, what=f"{path}: feature space {space!r}")
    return Reference(header["name"], spaces, header["fingerprints"], patients, header["source"])


def require_finite(features: npt.NDArray[np.floating], *, what: str) -> None:
    """Refuse features that are no numbers.

    Raises:
        ValueError: If they are not [N, D].
        InputDataError: Saying how many rows hold NaN or infinity, and which is the first.
    """
    if features.ndim != 2:
        raise ValueError(f"{what}: features must be [N, D], got {features.shape}")
    bad = np.flatnonzero(~np.isfinite(features).all(axis=1))
    if bad.size:
        raise InputDataError(
            f"{what}: {bad.size} of {len(features)} rows hold NaN or infinity, the first is row {bad[0]}.",
            fix="Check the image and the weights of the network behind it; nothing is measured from broken features.",
        )
