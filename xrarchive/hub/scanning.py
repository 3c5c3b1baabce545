"""The last look at every text that goes up: no path of this machine, no token, no patient.

In: what the repositories are to hold, and what must not be in it. Out: nothing, or a refusal naming file and line.

What may be in an archive of persons at all: hashed prefixes of patient ids in the weights, which tell whether two
classifiers share patients, and counts. Ids themselves are searched for if the radiographs are at hand. A number is
taken for an id only where numbers do not stand by themselves, after a quote, slash, underscore, hyphen or ``p``:
counts, sizes and seeds look the same.

Searched are all files sent from memory, and the metadata in front of weights. Shards hold pixels, labels, scores and
numbers under a fixed schema.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from xrarchive.errors import GateError
from xrarchive.hub.content import RepoContent, Upload

_ANYBODYS = (
    # Homes of Linux and macOS, not after what makes them part of an address; and of Windows.
    re.compile(rb"(?<![\w.:/])/(?:home|Users)/[\w.-]+/[\w./-]*"),
    re.compile(rb"(?<!\w)[A-Za-z]:\\{1,2}Users\\{1,2}[\w.-]+"),
)
_TOKEN = re.compile(rb"(?<!\w)hf_[A-Za-z0-9]{20,}")
_WORD = re.compile(rb"[0-9A-Za-z][\w.-]*")
_NUMBER = re.compile(rb"(?<=[\"'/_p-])\d+(?!\w)")
_MIN_ID_CHARS = 4
_SHOWN = 3
_TEXT_SUFFIXES = frozenset({".md", ".json", ".html", ".cff", ""})
_MAX_HEADER_BYTES = 100 << 20  # what safetensors itself reads


@dataclass(frozen=True)
class Leak:
    """Something that must not go up: what it is and where it stands."""

    what: str
    file: str
    line: int
    shown: str

    def __str__(self) -> str:
        return f"{self.file}, line {self.line}: {self.what} ({self.shown})"


def require_clean(contents: Iterable[RepoContent], *, folders: Collection[Path], ids: Collection[str] = ()) -> None:
    """Refuse to send what should not leave.

    Args:
        contents: What goes up.
        folders: Of this machine, whose paths must not be named.
        ids: Of patients and of their films.

    Raises:
        GateError: Naming file and line of the first few finds.
    """
    places = [_path_pattern(folder) for folder in folders if len(folder.parts) > 1]
    known = {name.encode() for name in ids if len(name) >= _MIN_ID_CHARS}
    found = [
        leak for content in contents for item in content.uploads for leak in _search(item, content.kind, places, known)
    ]
    if found:
        more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
        raise GateError(
            f"What would be published holds what should stay here: {'; '.join(map(str, found[:_SHOWN]))}{more}.",
            fix="Find out how it got there (names of folders, notes, reasons given); correct it, render card and "
            "report again, then publish again.",
        )


def _search(item: Upload, kind: str, places: list[re.Pattern[bytes]], ids: Collection[bytes]) -> Iterator[Leak]:
    text = _text_of(item)
    file = f"{kind} {item.path}"
    for pattern in (*places, *_ANYBODYS):
        for match in pattern.finditer(text):
            yield _leak("a path of this machine", file, text, match)
    for match in _TOKEN.finditer(text):
        yield Leak("a token", file, _line(text, match.start()), "hf_…")
    if ids:
        for match in (*_WORD.finditer(text), *_NUMBER.finditer(text)):
            word = match.group().rstrip(b".-")
            if word in ids and (not word.isdigit() or match.re is _NUMBER):
                yield _leak("the id of a patient or a film", file, text, match)


def _text_of(item: Upload) -> bytes:
    """The text of a small file, or the metadata of weights; nothing of pictures and shards."""
    if isinstance(item.source, bytes):
        return item.source if Path(item.path).suffix in _TEXT_SUFFIXES else b""
    if item.source.suffix != ".safetensors":
        return b""
    with item.source.open("rb") as stream:
        size = int.from_bytes(stream.read(8), "little")
        header = stream.read(size) if size <= _MAX_HEADER_BYTES else b""
    try:
        return "\n".join(map(str, json.loads(header).get("__metadata__", {}).values())).encode()
    except (ValueError, AttributeError):  # no safetensors file: loading it says so
        return b""


def _path_pattern(folder: Path) -> re.Pattern[bytes]:
    return re.compile(rb"(?<![\w.:/])" + re.escape(str(folder).encode()) + rb"(?![\w-])[\w./-]*")


def _leak(what: str, file: str, text: bytes, match: re.Match[bytes]) -> Leak:
    return Leak(what, file, _line(text, match.start()), match.group().decode(errors="replace"))


def _line(text: bytes, at: int) -> int:
    return text.count(b"\n", 0, at) + 1
