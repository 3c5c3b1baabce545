"""Which version a release may have, given what is published already.

In: the manifest of an archive, and a destination's versions. Out: a version, or a refusal that names the right one.

Versions mean what Croissant says they mean: PATCH = the same data, otherwise described or packed; MINOR = all old data
still there, and more; MAJOR = data removed or changed. Manifests decide that without a shard being read: an archive
that was only extended since has all its old images, whatever file they lie in; a published shard that is there
unchanged holds what it held; `content_sha256` covers id, split, labels and pixels of every row. What none of these
shows to be kept counts as changed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from xrarchive.archive.manifest import Manifest, split_of
from xrarchive.archive.source import Source
from xrarchive.errors import SettingsError

Level = Literal["patch", "minor", "major"]

VERSION = re.compile(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)")
# More than this is not fetched from a Hub to word a refusal.
_DIFF_BYTES = 256 << 20
_NAMED = 3


@dataclass(frozen=True)
class Standing:
    """What a destination holds under a repository's name.

    Attributes:
        versions: All, the lowest first.
        manifest: Of one of these; None where it is no archive of ours.
        differs: How that version differs from what is to be published under it, in words; "" if it does not.
    """

    versions: tuple[str, ...]
    manifest: Callable[[str], Manifest | None]
    differs: Callable[[str], str]


def list_versions(tags: Iterable[str]) -> tuple[str, ...]:
    """The versions among tags, ``v1.2.3`` → ``1.2.3``, the lowest first."""
    found = (tag[1:] for tag in tags if tag.startswith("v") and VERSION.fullmatch(tag[1:]))
    return tuple(sorted(found, key=ordered))


def ordered(version: str) -> tuple[int, ...]:
    """A version as numbers, which sort as versions do."""
    return tuple(map(int, version.split(".")))


def bump(version: str, level: Level) -> str:
    """The next version of a kind."""
    major, minor, patch = ordered(version)
    return {"major": f"{major + 1}.0.0", "minor": f"{major}.{minor + 1}.0", "patch": f"{major}.{minor}.{patch + 1}"}[
        level
    ]


def change_between(old: Manifest, new: Manifest) -> tuple[Level, str]:
    """What kind of version the step from a published archive to another one is, and why, in words."""
    if old.sha256 == new.sha256:
        return "patch", "the images are the same"
    steps = new.history[len(old.history) :]
    if steps and old.history == new.history[: len(old.history)] and old.builds == new.builds[: len(old.builds)]:
        removed = sum(step.removed for step in steps)
        added = sum(step.added for step in steps)
        words = f"{added:,} images were added and {removed:,} removed ({', '.join(step.change for step in steps)})"
        return ("minor" if all(step.change == "extend" for step in steps) else "major"), words
    before, after = ({(split_of(name), record.sha256) for name, record in m.files.items()} for m in (old, new))
    if before < after:
        return "minor", f"{new.rows - old.rows:,} images were added"
    if before == after:
        return "patch", "the images are the same"
    same = ("findings", "size_px", "mode", "format", "content_sha256")
    if old.content_sha256 and all(getattr(old, name) == getattr(new, name) for name in same):
        return "patch", "images and labels are the same in other files"
    return "major", f"images that are published are not in it as they were ({old.rows:,} are, it has {new.rows:,})"


def fitting_version(asked: str | None, manifest: Manifest, standing: Standing) -> str:
    """The version to publish under: the one asked for if it may be, else the lowest that may.

    Raises:
        SettingsError: If the version asked for is lower than what is published, or than the change since demands.
    """
    if asked in standing.versions:  # published already, or refused when the content is compared
        return asked
    if not standing.versions:
        return asked or manifest.version
    newest = standing.versions[-1]
    old = standing.manifest(newest)
    level: Level = "major"
    why = f"what {newest} holds is no archive of ours"
    if old is not None:
        level, why = change_between(old, manifest)
    if asked is None and old is not None and old.sha256 == manifest.sha256 and not standing.differs(newest):
        return newest
    lowest = bump(newest, level)
    if asked is None:
        return max(lowest, manifest.version, key=ordered)
    if ordered(asked) < ordered(lowest):
        raise SettingsError(
            f"The version {asked} is too low: {newest} is published, and since then {why}. "
            f"That makes it a {level.upper()} version.",
            fix=f"Publish it as {lowest} or higher, or leave the version out.",
        )
    return asked


def describe_difference(old: Source, new: Source) -> str:
    """Images added, removed and changed, in words; "" if no image differs. Only shards that differ are fetched."""
    from xrarchive.archive.diffing import diff_archives  # brings pyarrow

    if old.manifest.sha256 == new.manifest.sha256:
        return ""
    own = {record.sha256 for record in new.manifest.files.values()}
    if sum(record.bytes for record in old.manifest.files.values() if record.sha256 not in own) > _DIFF_BYTES:
        return change_between(old.manifest, new.manifest)[1]
    found = diff_archives(old, new)
    parts = (("added", found.added), ("removed", found.removed), ("changed", tuple(found.changed)))
    return ", ".join(f"{len(ids):,} images {word}{_some(ids)}" for word, ids in parts)


def _some(ids: tuple[str, ...]) -> str:
    if not ids:
        return ""
    return f" ({', '.join(ids[:_NAMED])}{', …' if len(ids) > _NAMED else ''})"
