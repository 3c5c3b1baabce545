"""Where a radiograph's bytes are: a file, or a member of a container, read as a stream and never unpacked to disk.

In: the `Place` of each radiograph. Out: its content, in the order in which the containers hold it. Called by `ingest`
and, for names only, by the layouts.

    zip                          any member, each read when its turn comes
    tar, also gz, bz2, xz        one pass; wanted members are kept, the others skipped
    npz                          member "train_images[7]": one image of an array [N, H, W] or [N, H, W, 3]
    parquet                      member "7:image": a row, and a column of bytes or of structs with a field `bytes`

A container from outside is never trusted: it may be a bomb, name its members outside the folder or twice, or end
early. A member has a name and bytes and nothing else; links and devices are no members. Archives inside are not opened.
"""

from __future__ import annotations

import lzma
import re
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO, Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from xrarchive.errors import InputDataError
from xrarchive.pixels import MAX_SOURCE_PIXELS, AnyPixels

# Eight bytes a pixel is a 16-bit RGBA file without compression; what is larger is not read at all.
MAX_SOURCE_BYTES = 8 * MAX_SOURCE_PIXELS
# Limits against bombs. Deflate shrinks zeros a thousandfold, radiographs seldom tenfold; small files may shrink as they
# like. The largest public set has under half a million members.
MAX_RATIO = 200
FREE_BYTES = 1 << 24
MAX_MEMBERS = 2_000_000
MAX_NAME_BYTES = 255
_MAX_TAR_HEADER_BYTES = 1 << 20

ZIP, TAR, NPZ, PARQUET = "zip", "tar", "npz", "parquet"
_SUFFIXES = {".zip": ZIP, ".npz": NPZ, ".parquet": PARQUET, ".tar": TAR, ".tgz": TAR}
_SUFFIXES |= {f".tar.{packed}": TAR for packed in ("gz", "bz2", "xz")}
_ELEMENT = re.compile(r"(.+)\[(\d+)\]")
_CELL = re.compile(r"(\d+):(.+)")
_IMAGE_DTYPES = (np.dtype(np.uint8), np.dtype(np.uint16))
_PARQUET_BATCH = 64
_ENCRYPTED = 0x1
_AGAIN = "Download the file again and compare its size or checksum with the publisher's."
# What the readers of containers raise on damaged bytes; ValueError covers Unicode, RuntimeError what is not done, and
# TypeError is tarfile's word for a gzip header that ends early.
_DAMAGE: tuple[type[Exception], ...] = (OSError, EOFError, ValueError, RuntimeError, LookupError, OverflowError)
_DAMAGE += (tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, pa.ArrowException, MemoryError)
_DAMAGE += (TypeError, struct.error)


@dataclass(frozen=True, slots=True)
class Place:
    """A file, or the container that holds it and the name within."""

    path: Path
    member: str = ""


@dataclass(frozen=True, slots=True)
class Unread:
    """Why a member gave no bytes: a reason code of `decode.CODES`, and words."""

    code: str
    reason: str


Content = Path | bytes | AnyPixels | Unread


class _HostileError(Exception):
    """The container is not one to read on; the message says why."""


def container_kind(path: Path) -> str | None:
    """Kind of container a file's name claims to be: "zip", "tar", "npz", "parquet", or None for a plain file."""
    name = path.name.lower()
    return next((kind for suffix, kind in _SUFFIXES.items() if name.endswith(suffix)), None)


def list_members(path: Path) -> tuple[str, ...]:
    """Names of the members of a container, in its order. Reads a packed tar to its end; of the others only the index.

    Args:
        path: The container, of a kind that `container_kind` knows.

    Returns:
        For zip and tar the paths of regular files inside, with '/'; for npz and Parquet one name for each image.

    Raises:
        InputDataError: If it cannot be read, ends early, is a bomb, encrypts a member, or names one twice or outside.
        ValueError: If it is no container.
    """
    kind = container_kind(path)
    if kind is None:
        raise ValueError(f"{path} is no container")
    try:
        return tuple(_distinct(_LISTERS[kind](path)))
    except _HostileError as err:
        raise InputDataError(
            f"{path} is not read: {err}.", fix="Unpack it in a place of its own, and look at what it holds.", path=path
        ) from err
    except _DAMAGE as err:
        raise InputDataError(f"{path} is damaged: {_told(err)}.", fix=_AGAIN, path=path) from err


def read_places(places: Sequence[Place]) -> Iterator[tuple[int, Content]]:
    """The content of every place, once: a whole container at the first place that is inside it.

    Args:
        places: Files and members, in any order.

    Yields:
        The index of a place and its content: the path itself for a plain file, which is the reader's to open; bytes
        of a member of zip, tar or Parquet; uint8 or uint16 [H, W] or [H, W, 3] of an npz; `Unread` where there is none.
    """
    inside: dict[Path, dict[str, list[int]]] = {}
    for index, place in enumerate(places):
        if place.member:
            inside.setdefault(place.path, {}).setdefault(place.member, []).append(index)
    for index, place in enumerate(places):
        if not place.member:
            yield index, place.path
        elif wanted := inside.pop(place.path, None):
            for member, content in _read_container(place.path, tuple(wanted)):
                for found in wanted[member]:
                    yield found, content


def _read_container(path: Path, wanted: Sequence[str]) -> Iterator[tuple[str, Content]]:
    """Each wanted member once, `Unread` where the container does not give it."""
    left = dict.fromkeys(wanted)
    kind = container_kind(path)
    reason = Unread("missing", f"not in {path.name}")
    try:
        for member, content in _READERS[kind](path, left) if kind else ():
            del left[member]
            yield member, content
    except FileNotFoundError:
        reason = Unread("missing", f"{path.name} not found")
    except _HostileError as err:
        reason = Unread("container", f"{path.name}: {err}")
    except _DAMAGE as err:
        reason = Unread("container", f"{path.name} is damaged: {_told(err)}")
    for member in left:
        yield member, reason


def _distinct(names: Iterable[str]) -> Iterator[str]:
    """The names, refusing what no honest container holds."""
    seen: set[str] = set()
    for name in names:
        if len(seen) >= MAX_MEMBERS:
            raise _HostileError(f"it holds more than {MAX_MEMBERS:,} members")
        if name in seen:
            raise _HostileError(f"it holds {name!r} twice")
        seen.add(name)
        yield name


def _safe(name: str) -> str:
    """A member's name without a leading './'."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or "\0" in name or PureWindowsPath(name).drive:
        raise _HostileError(f"its member {name[:MAX_NAME_BYTES]!r} names a place outside")
    if any(len(part.encode(errors="surrogateescape")) > MAX_NAME_BYTES for part in path.parts):
        raise _HostileError(f"the name of its member {name[:40]!r}... is longer than {MAX_NAME_BYTES} bytes")
    return path.as_posix()


def _require_plausible(bytes_inside: int, bytes_outside: int) -> None:
    if bytes_inside > FREE_BYTES + MAX_RATIO * bytes_outside:
        raise _HostileError(f"{bytes_outside:,} bytes that unpack to {bytes_inside:,} or more are a bomb")


def _told(err: BaseException) -> str:
    if isinstance(err, OSError) and err.strerror:
        return err.strerror.lower()
    return " ".join(str(err).split())[:160] or type(err).__name__


# zip


def _zip_members(archive: zipfile.ZipFile, path: Path) -> dict[str, zipfile.ZipInfo]:
    """Regular files by safe name, the whole archive checked first."""
    infos = archive.infolist()
    if len(infos) > MAX_MEMBERS:
        raise _HostileError(f"it holds more than {MAX_MEMBERS:,} members")
    _require_plausible(sum(info.file_size for info in infos), path.stat().st_size)
    files = [info for info in infos if not info.is_dir() and not _is_link(info)]
    names = list(_distinct(_safe(info.filename) for info in files))
    for info in files:
        if info.flag_bits & _ENCRYPTED:
            raise _HostileError(f"its member {info.filename!r} is encrypted")
        _require_plausible(info.file_size, info.compress_size)
    return dict(zip(names, files, strict=True))


def _is_link(info: zipfile.ZipInfo) -> bool:
    """Whether a Unix archiver stored a symbolic link (file type 0o12 in the mode's upper bits)."""
    return (info.external_attr >> 28) == 0o12


def _list_zip(path: Path) -> Iterator[str]:
    with zipfile.ZipFile(path) as archive:
        yield from _zip_members(archive, path)


def _read_zip(path: Path, wanted: Mapping[str, None]) -> Iterator[tuple[str, Content]]:
    with zipfile.ZipFile(path) as archive:
        members = _zip_members(archive, path)
        for name in [name for name in members if name in wanted]:
            yield name, _bytes_of(members[name].file_size, lambda info=members[name]: archive.open(info))  # type: ignore[misc]


def _bytes_of(size: int, open_member: Callable[[], IO[bytes]]) -> Content:
    """All bytes of one member; damage to it is its own affair."""
    if size > MAX_SOURCE_BYTES:
        return Unread("too-large", f"larger than {MAX_SOURCE_BYTES:,} bytes")
    try:
        with open_member() as stream:
            data = stream.read(size + 1)
    except _DAMAGE as err:
        return Unread("container", _told(err))
    return data if len(data) == size else Unread("truncated", f"expected {size:,} bytes, found {len(data):,}")


# tar


class _TarInfo(tarfile.TarInfo):
    """Refuses headers that would be read into memory whole, and a file that stops where a header should be."""

    _LONG = frozenset(b"xgXLK")

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        # tarfile catches its own errors for this and ends quietly.
        if len(buf) < tarfile.BLOCKSIZE:
            raise EOFError("it ends early")
        return super().frombuf(buf, encoding, errors)

    def _proc_member(self, archive: tarfile.TarFile) -> Any:
        if self.type[0] in self._LONG and self.size > _MAX_TAR_HEADER_BYTES:
            raise _HostileError("one of its headers is longer than any name")
        return super()._proc_member(archive)  # type: ignore[misc]


def _tar_members(path: Path) -> Iterator[tuple[str, tarfile.TarFile, tarfile.TarInfo]]:
    """Regular files in one pass, each readable until the next is asked for."""
    outside = path.stat().st_size
    with tarfile.open(path, "r|*", tarinfo=_TarInfo) as archive:
        while info := archive.next():
            archive.members.clear()  # type: ignore[attr-defined] # or two million of them stay in memory
            _require_plausible(info.offset_data + info.size, outside)
            if info.isreg() and not info.issparse():
                yield _safe(info.name), archive, info


def _list_tar(path: Path) -> Iterator[str]:
    for name, _, _ in _tar_members(path):
        yield name


def _read_tar(path: Path, wanted: Mapping[str, None]) -> Iterator[tuple[str, Content]]:
    """Of two members of one name the first counts here; `list_members` refuses such a file."""
    for name, archive, info in _tar_members(path):
        if name in wanted:
            yield name, _bytes_of(info.size, lambda: archive.extractfile(info))  # type: ignore[arg-type, return-value] # noqa: B023
        if not wanted:
            return


# npz


def _npz_header(stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any], int]:
    """Shape, column order, dtype of an .npy stream, and where its data starts."""
    version = np.lib.format.read_magic(stream)
    if version not in ((1, 0), (2, 0)):
        raise _HostileError(f"an array of .npy version {version}")
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = read(stream)
    return shape, fortran, dtype, stream.tell()


def _image_arrays(path: Path) -> Iterator[tuple[str, int]]:
    """Arrays of images in an npz and how many each holds; labels and objects are passed over, pickles never opened."""
    with zipfile.ZipFile(path) as archive:
        for name, info in _zip_members_of_npz(archive).items():
            with archive.open(info) as stream:
                shape, fortran, dtype, _ = _npz_header(stream)
            if _is_images(shape, dtype) and not fortran:
                yield name, shape[0]


def _zip_members_of_npz(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """Arrays by name. Their size is not held against them: an array is read an image at a time."""
    infos = [info for info in archive.infolist() if info.filename.endswith(".npy")]
    names = list(_distinct(_safe(info.filename.removesuffix(".npy")) for info in infos))
    if any(info.flag_bits & _ENCRYPTED for info in infos):
        raise _HostileError("it is encrypted")
    return dict(zip(names, infos, strict=True))


def _is_images(shape: Sequence[int], dtype: np.dtype[Any]) -> bool:
    return dtype in _IMAGE_DTYPES and (len(shape) == 3 or (len(shape) == 4 and shape[3] in (1, 3))) and min(shape) > 0


def _list_npz(path: Path) -> Iterator[str]:
    for name, count in _image_arrays(path):
        yield from (f"{name}[{index}]" for index in range(min(count, MAX_MEMBERS + 1)))


def _read_npz(path: Path, wanted: Mapping[str, None]) -> Iterator[tuple[str, Content]]:
    """Forward through each array, wanted images in ascending order."""
    rows: dict[str, list[int]] = {}
    for member in wanted:
        if match := _ELEMENT.fullmatch(member):
            rows.setdefault(match[1], []).append(int(match[2]))
    with zipfile.ZipFile(path) as archive:
        for name, info in _zip_members_of_npz(archive).items():
            if name in rows:
                with archive.open(info) as stream:
                    for row, image in _read_images(stream, sorted(set(rows[name]))):
                        yield f"{name}[{row}]", image


def _read_images(stream: IO[bytes], rows: Sequence[int]) -> Iterator[tuple[int, AnyPixels]]:
    shape, fortran, dtype, start = _npz_header(stream)
    if not _is_images(shape, dtype) or fortran:
        raise _HostileError(f"expected images of 8 or 16 bits, found {dtype} {list(shape)}")
    each = int(np.prod(shape[1:], dtype=object)) * dtype.itemsize
    if each > MAX_SOURCE_BYTES:
        raise _HostileError(f"its images are larger than {MAX_SOURCE_BYTES:,} bytes")
    for row in rows:
        if row < shape[0]:
            stream.seek(start + row * each)
            image = np.frombuffer(stream.read(each), dtype).reshape(shape[1:])
            yield row, image[..., 0] if shape[3:] == (1,) else image


# Parquet


def _image_columns(schema: pa.Schema) -> list[str]:
    return [field.name for field in schema if _is_bytes(field.type)]


def _is_bytes(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        position = kind.get_field_index("bytes")
        return position >= 0 and _is_bytes(kind.field(position).type)
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _list_parquet(path: Path) -> Iterator[str]:
    with pq.ParquetFile(path) as file:
        for column in _image_columns(file.schema_arrow):
            yield from (f"{row}:{column}" for row in range(min(file.metadata.num_rows, MAX_MEMBERS + 1)))


def _read_parquet(path: Path, wanted: Mapping[str, None]) -> Iterator[tuple[str, Content]]:
    columns = {match[2] for member in wanted if (match := _CELL.fullmatch(member))}
    with pq.ParquetFile(path) as file:
        for column in sorted(columns & set(_image_columns(file.schema_arrow))):
            row = 0
            for batch in file.iter_batches(_PARQUET_BATCH, columns=[column]):
                for cell in batch.column(0):
                    if (member := f"{row}:{column}") in wanted:
                        yield member, _cell(cell)
                    row += 1


def _cell(cell: pa.Scalar) -> Content:
    data = cell.as_py()
    data = data.get("bytes") if isinstance(data, dict) else data
    return data if data is not None else Unread("missing", "a blank cell")


_LISTERS = {ZIP: _list_zip, TAR: _list_tar, NPZ: _list_npz, PARQUET: _list_parquet}
_READERS = {ZIP: _read_zip, TAR: _read_tar, NPZ: _read_npz, PARQUET: _read_parquet}
