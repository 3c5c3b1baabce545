"""The entry of a version in a CHANGELOG.md, written from what differs.

In: an `ArchiveDiff`. Out: Markdown, put on top of the file below its title. Written again it replaces itself.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from xrarchive.archive.diffing import ArchiveDiff, LabelShift, Setting
from xrarchive.archive.manifest import Change
from xrarchive.errors import InputDataError
from xrarchive.files import write_bytes

_TITLE = "# Changelog\n"
_HEADING = re.compile(r"^## ", re.MULTILINE)
_SHA256 = re.compile(r"[0-9a-f]{64}")


def render_entry(diff: ArchiveDiff) -> str:
    """The entry of version `diff.b.version`: counts, what happened and why, labels, settings."""
    lines = [f"- {change_line(change)}" for change in diff.history]
    lines += [f"- `{column}` differs in {rows:,} rows." for column, rows in diff.columns.items()]
    lines += [f"- Columns no longer there: {', '.join(map(_code, diff.only_a))}."] if diff.only_a else []
    lines += [f"- New columns: {', '.join(map(_code, diff.only_b))}."] if diff.only_b else []
    lines += [f"- {_label(shift)}" for shift in diff.labels]
    lines += [f"- {_setting(setting)}" for setting in diff.settings]
    counts = f"{len(diff.added):,} rows added, {len(diff.removed):,} removed, {len(diff.changed):,} changed"
    head = f"Since {diff.a.version}: {counts}; {diff.b.rows:,} rows in all."
    return "\n".join([f"## {diff.b.version}", "", head, *([""] if lines else []), *lines]) + "\n"


def put_entry(text: str, entry: str) -> str:
    """A changelog with the entry in place of that of the same version, else before the newest."""
    version = entry.splitlines()[0].removeprefix("## ")
    own = re.search(rf"^## \[?{re.escape(version)}\]?(?=\s|$)", text, re.MULTILINE)
    if own:
        following = _HEADING.search(text, own.end())
        start, end = own.start(), following.start() if following else len(text)
    else:
        newest = _HEADING.search(text)
        start = end = newest.start() if newest else len(text)
    parts = (text[:start].rstrip() or _TITLE.rstrip(), entry.strip(), text[end:].strip())
    return "\n\n".join(part for part in parts if part) + "\n"


def find_entry(text: str, version: str) -> str:
    """What a changelog says of a version, without its heading; "" if it says nothing."""
    own = re.search(rf"^## \[?{re.escape(version)}\]?(?=\s|$).*$", text, re.MULTILINE)
    if not own:
        return ""
    following = _HEADING.search(text, own.end())
    return text[own.end() : following.start() if following else len(text)].strip()


def write_entry(path: Path, diff: ArchiveDiff) -> None:
    """Put the entry into a changelog file, which is made if it is not there.

    Raises:
        InputDataError: If the file is no UTF-8 text.
        StorageError: If the disk refuses.
    """
    try:
        before = path.read_bytes().decode() if path.exists() else ""
    except (UnicodeDecodeError, IsADirectoryError) as err:
        raise InputDataError(f"{path} is no text file: {err}.", fix="Give another --changelog.", path=path) from err
    text = put_entry(before.replace("\r\n", "\n"), render_entry(diff))
    if text != before:
        write_bytes(path, text.encode())


def change_line(change: Change) -> str:
    """One step in the life of an archive, on one line."""
    counts = ", ".join(f"{n:,} {word}" for n, word in ((change.added, "added"), (change.removed, "removed")) if n)
    counts = f" ({counts})" if counts else ""
    when = f" on {change.date}" if change.date else ""
    # One line, so that no reason can pass for a heading.
    reason = f": {' '.join(change.reason.split())}" if change.reason else ""
    return f"{change.version}, {change.change}{when}{counts}{reason}"


def _label(shift: LabelShift) -> str:
    return f"{_code(shift.label)}: {shift.before:,} images → {shift.after:,}"


def _setting(setting: Setting) -> str:
    return f"{setting.where}, {_code(setting.name)}: {_value(setting.old)} → {_value(setting.new)}"


def _value(value: object) -> str:
    if value is None:
        return "none"
    if isinstance(value, Mapping):
        return _code(", ".join(f"{key} {item}" for key, item in value.items()))
    if isinstance(value, tuple | list):
        return _code(", ".join(map(str, value)))
    return _code(str(value)[:12] if _SHA256.fullmatch(str(value)) else str(value))


def _code(text: str) -> str:
    line = " ".join(text.replace("`", "'").split())
    return f"`{line}`"
