"""What a source holds, by name: its files, and the members of archives that lie among them or are the source itself.

In: a folder or an archive. Out: names with '/' and the `Place` of each. Nothing is unpacked; an archive's members are
named as if it had been unpacked where it lies, so that a set does not depend on whether somebody did.
"""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

from xrarchive.errors import InputDataError
from xrarchive.radiographs.csv_table import LabelTable, parse_table, read_columns
from xrarchive.radiographs.places import NPZ, TAR, ZIP, Place, container_kind, list_members, read_places

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".dcm", ".dicom")
_TABLE_SUFFIXES = (".csv", ".csv.gz", ".csv.zip")
_HEAD_BYTES = 1 << 17
_ARCHIVES = (ZIP, TAR)


@dataclass(frozen=True)
class Tree:
    """A source: a folder, or one archive.

    Attributes:
        root: The folder or the archive.
        depth: How many levels of folders are seen; links may make a tree endless.
    """

    root: Path
    depth: int = 12

    @property
    def packed(self) -> bool:
        """Whether the source is an archive."""
        return self.root.is_file()

    @cached_property
    def files(self) -> dict[str, Place]:
        """Every file by name, in order; of a source that is an archive its members, without a folder around all."""
        if self.packed and container_kind(self.root) not in _ARCHIVES:
            return {self.root.name: Place(self.root)}
        if self.packed:
            names = sorted(list_members(self.root))
            top = _common_top(names)
            return {_plain(name.removeprefix(top)): Place(self.root, name) for name in names}
        return {_plain(name): Place(self.root / name) for name in sorted(_walk(self.root, "", self.depth, ()))}

    @cached_property
    def members(self) -> dict[str, Place]:
        """Every file inside archives of the folder, by the name it would have if they were unpacked in place."""
        found: dict[str, Place] = {}
        for name, place in self.files.items():
            if not self.packed and container_kind(place.path) in _ARCHIVES and not name.lower().endswith(".csv.zip"):
                for member in list_members(place.path):
                    found.setdefault(_plain(str(PurePosixPath(name).parent / member)), Place(place.path, member))
        return found

    @cached_property
    def everything(self) -> dict[str, Place]:
        """`files` and `members`."""
        return {**self.members, **self.files}

    @cached_property
    def tables(self) -> dict[str, tuple[str, ...]]:
        """Columns of every table at the top or in `annotations`, by name."""
        names = [name for name in self.files if name.lower().endswith(_TABLE_SUFFIXES)]
        near = [name for name in names if str(PurePosixPath(name).parent) in (".", "annotations")]
        return {name: read_columns(self.root / name, self._head(name)) for name in near}

    @cached_property
    def arrays(self) -> dict[str, Path]:
        """Files of arrays (.npz) by name; the source itself may be one."""
        if self.packed:
            return {self.root.name: self.root} if container_kind(self.root) == NPZ else {}
        return {name: place.path for name, place in self.files.items() if container_kind(place.path) == NPZ}

    def matching(self, pattern: str) -> list[str]:
        """Names of files that fit a pattern such as "images_*.tar.gz", in order."""
        return [name for name in self.files if fnmatch.fnmatchcase(name, pattern)]

    def read(self, name: str) -> bytes:
        """All bytes of a file of the tree, such as a table.

        Raises:
            InputDataError: If it cannot be read.
        """
        return self.read_many([name])[name]

    def read_many(self, names: Sequence[str]) -> dict[str, bytes]:
        """All bytes of several files, in one pass over an archive that holds them."""
        places = [self.files.get(name) or self.members[name] for name in names]
        found: dict[str, bytes] = {}
        for index, content in read_places(places):
            if isinstance(content, Path):
                content = content.read_bytes()
            if not isinstance(content, bytes):
                raise InputDataError(
                    f"{places[index].path}: {names[index]} cannot be read.",
                    fix="Unpack the archive and give its folder.",
                    path=places[index].path,
                )
            found[names[index]] = content
        return found

    def _head(self, name: str) -> bytes:
        """As much of a table as holds its first line; of a zip all, since its index comes last."""
        place = self.files[name]
        if place.member or name.lower().endswith(".zip"):
            return self.read(name)
        with place.path.open("rb") as stream:
            return stream.read(_HEAD_BYTES)

    def table(self, name: str, required: Iterable[str], optional: Iterable[str] = ()) -> LabelTable:
        """A table of a public set: only the columns that are asked for, records of odd length allowed."""
        wanted = tuple(required)
        return parse_table(self.root / name, self.read(name), wanted, exact=False, optional=tuple(optional))

    def find_images(self, depth: int = 1) -> Finder:
        """Where images are, by the last `depth` parts of their path, whatever their suffix and case."""
        return Finder(self, depth)


class Finder:
    """Finds images of a `Tree` by the end of their path; archives are opened when a file is not to be found."""

    def __init__(self, tree: Tree, depth: int) -> None:
        self._tree, self._depth = tree, depth
        self._known = dict(self._keys(tree.files))
        self._opened = False

    def __call__(self, name: str) -> tuple[str, Place, bool]:
        """Name in the tree, place, and whether there is one; `name` itself at the root where there is none."""
        if (place := self._tree.files.get(name)) is not None:
            return name, place, True
        key = _tail(name, self._depth)
        if key not in self._known and not self._opened:
            self._opened = True
            self._known = {**dict(self._keys(self._tree.members)), **self._known}
        if key not in self._known:
            return name, Place(self._tree.root / name), False
        found, place = self._known[key]
        return found, place, True

    def _keys(self, entries: dict[str, Place]) -> Iterator[tuple[str, tuple[str, Place]]]:
        # Backwards, so that of several the first remains.
        for name in reversed(entries):
            if is_image(name):
                yield _tail(name, self._depth), (name, entries[name])


def is_image(name: str) -> bool:
    """Whether a file's name ends as that of an image."""
    return name.lower().endswith(IMAGE_SUFFIXES)


def _tail(name: str, depth: int) -> str:
    """The last parts of a path, in lower case and without an image's suffix."""
    parts = name.lower().split("/")[-depth:]
    suffix = next((suffix for suffix in IMAGE_SUFFIXES if parts[-1].endswith(suffix)), "")
    return "/".join(parts).removesuffix(suffix)


def _plain(name: str) -> str:
    """A name that can be written as UTF-8: bytes that are none become escapes."""
    return name.encode("utf-8", "backslashreplace").decode()


def _common_top(names: Sequence[str]) -> str:
    """The folder around everything in an archive, with its '/', "" if there is none."""
    tops = {name.partition("/")[0] for name in names if not name.startswith(("__MACOSX/", "."))}
    (top, *others) = tops or {""}
    return f"{top}/" if top and not others and all("/" in name for name in names) else ""


def _walk(folder: Path, prefix: str, depth: int, above: tuple[tuple[int, int], ...]) -> Iterator[str]:
    """Names of all files below `folder`; links are followed but not in circles, hidden files are not seen."""
    here = folder.stat()
    if not depth or (here.st_dev, here.st_ino) in above:
        return
    above = (*above, (here.st_dev, here.st_ino))
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(".") or entry.name == "__MACOSX":
                continue
            if entry.is_dir():
                yield from _walk(folder / entry.name, f"{prefix}{entry.name}/", depth - 1, above)
            else:
                yield f"{prefix}{entry.name}"
