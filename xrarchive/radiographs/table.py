"""The radiograph set: the folder that training, thresholds and validation read.

SET/radiographs.parquet   one row per radiograph: where it came from, whose it is, its split, its labels
SET/pixels-<size>.npy     uint8 [N, size, size], 0 = black, row for row with the table
SET/pixels-<px>.npy       the same at size/2, size/4, ... 4: 2x2 averages of the next larger, halves rounded up
SET/rejects.csv           images of the source that were not taken, with a code of `reasons` and words
SET/set.json              written last: size, vocabulary, terms, counts, hashes. Without it the set is not finished

Why every size is stored: a generator that grows from 4 px reads each size as it is, with nothing to decode or average
in its loop, for a third more disk. Sets made before this hold their full size only (see `RadiographSet.sizes_px`).
Why `read` and not a memory map: pages of a map that were touched count as resident, after an epoch the whole set;
and faulting a page at a time is slower (32 random rows: 3x at 64 px, 1.6x at 1024 px, from disk 30x and 4x).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from xrarchive.errors import DamageError, InputDataError
from xrarchive.files import read_json, sha256_bytes, sha256_file
from xrarchive.pixels import Pixels
from xrarchive.radiographs.split import OWN_PATIENT, SPLITS

# The second holds -1 for uncertain labels and may name studies; written only where there is such a thing.
SCHEMAS = ("xrarchive.set/1", "xrarchive.set/2")
SET_NAME = "set.json"
TABLE_NAME = "radiographs.parquet"
REJECTS_NAME = "rejects.csv"
REJECTS_COLUMNS = ("image", "sha256", "code", "reason")

_COLUMNS = (
    ("image", pa.string()),
    ("sha256", pa.string()),
    ("patient_id", pa.string()),
    ("view", pa.string()),
    ("age", pa.int16()),
    ("sex", pa.string()),
    ("source", pa.string()),
    ("split", pa.string()),
    ("width", pa.int32()),
    ("height", pa.int32()),
)
_STUDY = ("study_id", pa.string())
RESERVED_COLUMNS = tuple(name for name, _ in (*_COLUMNS, _STUDY))

_AGAIN = "Remove the folder and run `xrarchive ingest` again."
_KEYS = {"settings", "inputs", "layout", "images", "patients", "findings", "splits", "files"}
# Where a progressive generator starts: smaller averages are of no use.
_SMALLEST_PX = 4
# Radiographs compared at a time: at 1024 px 64 MB.
_COMPARED = 64
# Names the purpose, so that this hash of patient ids can be matched with no other.
_PATIENT_HASH_SALT = b"xrarchive.patients/1\n"


def pixels_name(size_px: int) -> str:
    """File name of the pixels at one size."""
    return f"pixels-{size_px}.npy"


def pyramid_px(size_px: int) -> tuple[int, ...]:
    """Sides of the pixels in a set, largest first: a power of two is halved down to 4 px, any other stays alone."""
    sizes = [size_px]
    if size_px.bit_count() == 1:
        while sizes[-1] > _SMALLEST_PX:
            sizes.append(sizes[-1] // 2)
    return tuple(sizes)


def table_schema(vocabulary: tuple[str, ...], *, studies: bool = False) -> pa.Schema:
    """Columns of the table: a nullable int8 for each finding holds 1, 0, -1 (uncertain) or null (unknown)."""
    return pa.schema([*_COLUMNS, *([_STUDY] if studies else []), *((name, pa.int8()) for name in vocabulary)])


@dataclass(frozen=True)
class RadiographSet:
    """A finished radiograph set of N radiographs and K findings. Made by `open_set`.

    Attributes:
        folder: Where it is.
        sha256: Of set.json's bytes, which name the hashes of the other files: identifies the set.
        meta: The content of set.json.
    """

    folder: Path
    sha256: str
    meta: dict[str, Any]

    def __len__(self) -> int:
        return int(self.meta["images"])

    @property
    def size_px(self) -> int:
        """Side of the square pixels."""
        return int(self.meta["settings"]["size_px"])

    @property
    def sizes_px(self) -> tuple[int, ...]:
        """Sides at which `read` gives the radiographs, largest first."""
        return tuple(px for px in pyramid_px(self.size_px) if pixels_name(px) in self.meta["files"])

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """Finding names in label order, `No Finding` first."""
        return tuple(self.meta["settings"]["findings"])

    @property
    def terms(self) -> tuple[str, ...]:
        """Names of the terms the radiographs were given under."""
        return tuple(self.meta["settings"]["terms"])

    @cached_property
    def pixels(self) -> Pixels:
        """uint8 [N, H, W], 0 = black; a read-only memory map. Where memory matters, `read`."""
        return np.load(self.folder / pixels_name(self.size_px), mmap_mode="r", allow_pickle=False)  # type: ignore[no-any-return]

    @cached_property
    def table(self) -> pa.Table:
        """All columns of radiographs.parquet."""
        return pq.read_table(self.folder / TABLE_NAME)

    @cached_property
    def labels(self) -> npt.NDArray[np.float32]:
        """float32 [N, K]: 1 present, 0 absent, NaN unknown or uncertain."""
        columns = [self.table[name].cast(pa.float32()).to_numpy() for name in self.vocabulary]
        labels = np.stack(columns, axis=1).astype(np.float32)
        labels[labels < 0] = np.nan
        return labels

    @cached_property
    def uncertain(self) -> npt.NDArray[np.bool_]:
        """Bool [N, K]: whether somebody looked for the finding and would not say."""
        columns = [self.table[name].cast(pa.float32()).to_numpy() for name in self.vocabulary]
        return np.stack(columns, axis=1) < 0

    @cached_property
    def patients(self) -> npt.NDArray[np.str_]:
        """Patient id per radiograph, str [N], never blank."""
        return self._words("patient_id")

    @cached_property
    def known_patients(self) -> npt.NDArray[np.str_]:
        """`patients`, "" where the source named none: str [N]."""
        return np.where(np.char.startswith(self.patients, OWN_PATIENT), "", self.patients)

    @cached_property
    def views(self) -> npt.NDArray[np.str_]:
        """Str [N]: "PA", "AP" or "" for unknown."""
        return self._words("view")

    @cached_property
    def ages(self) -> npt.NDArray[np.float32]:
        """float32 [N]: years, NaN for unknown."""
        return self.table["age"].cast(pa.float32()).to_numpy().astype(np.float32)  # type: ignore[no-any-return]

    @cached_property
    def sexes(self) -> npt.NDArray[np.str_]:
        """Str [N]: "M", "F" or "" for unknown."""
        return self._words("sex")

    @cached_property
    def sources(self) -> npt.NDArray[np.str_]:
        """Str [N]: in the source's words, "" for unknown."""
        return self._words("source")

    @cached_property
    def splits(self) -> npt.NDArray[np.str_]:
        """Str [N], each one of `SPLITS`."""
        return self._words("split")

    def rows(self, *splits: str) -> npt.NDArray[np.int64]:
        """Indices of the radiographs in these splits, ascending.

        Raises:
            ValueError: If a split does not exist.
        """
        if unknown := set(splits) - set(SPLITS):
            raise ValueError(f"unknown splits {sorted(unknown)}, known: {SPLITS}")
        return np.flatnonzero(np.isin(self.splits, splits)).astype(np.int64)

    def read(self, rows: npt.ArrayLike, px: int) -> Pixels:
        """The radiographs of `rows` at `px`, read afresh: nothing stays in memory but what is returned.

        Args:
            rows: Indices [n] in 0..N-1, in any order, repeats allowed.
            px: Side of the pixels, one of `sizes_px`.

        Returns:
            uint8 [n, px, px], 0 = black, in the order of `rows`.

        Raises:
            InputDataError: If the set does not hold that size.
            DamageError: If the file has become shorter.
            ValueError: If `rows` is not a list of indices, or one is outside the set.
        """
        self._require_size(px)
        path, each_bytes = self.folder / pixels_name(px), px * px
        # The header is what comes before the pixels; its length is numpy's affair.
        header_bytes = self.meta["files"][path.name]["bytes"] - len(self) * each_bytes
        wanted = self._require_rows(rows)
        pixels = np.empty((len(wanted), px, px), np.uint8)
        with path.open("rb", buffering=0) as stream:
            for row, plane in zip(wanted.tolist(), pixels, strict=True):
                stream.seek(header_bytes + row * each_bytes)
                if (found := stream.readinto(plane.data)) != each_bytes:
                    raise DamageError(
                        f"{path} ends within radiograph {row}: expected {each_bytes:,} bytes, found {found:,}.",
                        fix=_AGAIN,
                        path=path,
                    )
        return pixels

    def unseen_rows(self, split: str, *, seen: Sequence[str]) -> npt.NDArray[np.int64]:
        """Indices of the radiographs of `split` whose pixels occur in none of the splits `seen`.

        Public sets hold the same film under two names: what a network was trained on must not also measure it.
        """
        known = set(self.film_hashes(self.rows(*seen)))
        rows = self.rows(split)
        return rows[np.array([sha256 not in known for sha256 in self.film_hashes(rows)], np.bool_)]

    def film_hashes(self, rows: npt.NDArray[np.int64]) -> Iterator[str]:
        """Sha256 of the full-size pixels of each row, a few rows in memory at a time."""
        for start in range(0, len(rows), _COMPARED):
            block = self.read(rows[start : start + _COMPARED], self.size_px)
            yield from (sha256_bytes(plane.tobytes()) for plane in block)

    def patient_hash(self, rows: npt.ArrayLike) -> str:
        """Sha256 over the sorted distinct patient ids of these rows: proves who was used without naming anyone."""
        names = sorted(set(self.patients[np.asarray(rows, dtype=np.int64)].tolist()))
        return sha256_bytes(_PATIENT_HASH_SALT + "\n".join(names).encode())

    def check_files(self) -> None:
        """Compare the sha256 of every file with the recorded one.

        Raises:
            DamageError: Naming the first file that differs.
        """
        for name, record in sorted(self.meta["files"].items()):
            found = sha256_file(self.folder / name)
            if found != record["sha256"]:
                raise DamageError(
                    f"{self.folder / name} is damaged: expected sha256 {record['sha256']}, found {found}.",
                    fix=_AGAIN,
                    path=self.folder / name,
                )

    def _require_size(self, px: int) -> None:
        if px in self.sizes_px:
            return
        raise InputDataError(
            f"{self.folder} holds no pixels of {px} px, only {', '.join(map(str, self.sizes_px))}.",
            fix=f"Ingest again into another folder: `xrarchive ingest SRC --out NEW --size {max(px, self.size_px)}`.",
            path=self.folder / pixels_name(px),
        )

    def _require_rows(self, rows: npt.ArrayLike) -> npt.NDArray[np.int64]:
        """`rows` as indices [n]; a mask or a negative index would give other radiographs than meant."""
        given = np.asarray(rows)
        if given.ndim != 1 or (given.size and given.dtype.kind not in "iu"):
            raise ValueError(f"rows must be indices [n], got {given.dtype} {list(given.shape)}")
        if given.size and not (given.min() >= 0 and given.max() < len(self)):
            raise ValueError(f"rows must be in 0..{len(self) - 1}, got {given.min()}..{given.max()}")
        return given.astype(np.int64)

    def _words(self, column: str) -> npt.NDArray[np.str_]:
        return np.array(self.table[column].to_pylist(), dtype=np.str_)


def open_set(folder: Path) -> RadiographSet:
    """Open a finished radiograph set, checking that its files have their recorded sizes.

    Raises:
        InputDataError: If there is no finished set, or one of another format.
        DamageError: If set.json is damaged, or a file is missing or of another size.
    """
    folder = Path(folder)
    fix = f"Make the set with `xrarchive ingest SRC --out {folder}`."
    meta = read_json(folder / SET_NAME, what="radiograph set", fix=fix)
    found = meta.get("schema") if isinstance(meta, dict) else None
    if found not in SCHEMAS:
        raise InputDataError(
            f"{folder / SET_NAME} is of format {found!r}, expected {' or '.join(map(repr, SCHEMAS))}.",
            fix=_AGAIN,
            path=folder / SET_NAME,
        )
    if missing := sorted(_KEYS - meta.keys()):
        raise DamageError(f"{folder / SET_NAME} lacks {', '.join(missing)}.", fix=_AGAIN, path=folder / SET_NAME)
    _require_sizes(folder, meta)
    return RadiographSet(folder, sha256_file(folder / SET_NAME), meta)


def _require_sizes(folder: Path, meta: dict[str, Any]) -> None:
    for name, record in sorted(meta["files"].items()):
        path = folder / name
        found = path.stat().st_size if path.is_file() else None
        if found != record["bytes"]:
            state = "missing" if found is None else f"{found:,} bytes"
            raise DamageError(f"{path} is {state}, expected {record['bytes']:,} bytes.", fix=_AGAIN, path=path)
