"""What a name means to whoever reads: a folder, one version of a published folder, or a repository of the Hub.

    archive                             a folder
    share/OWNER/NAME, v1.0.0            a version in a folder that `publish --to share` filled
    share/models/OWNER/NAME, v1.0.0     its weights, which go by the dataset's own name too
    OWNER/NAME@v1.0.0                   a repository of the Hub at a tag, branch or commit; `main` if none is named

In: a name and, if one is given, a revision. Out: a folder or a `Remote`; nothing is opened or asked.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from xrarchive.errors import InputDataError
from xrarchive.hub.content import REPO

_REMOTE = re.compile(rf"(?P<repo>{REPO})(@(?P<revision>[^\s@]+))?", re.ASCII)
_VERSION = re.compile(r"v\d+\.\d+\.\d+")


@dataclass(frozen=True)
class Remote:
    """A repository of the Hub at a revision."""

    repo: str
    revision: str


def locate(name: str | Path, revision: str | None = None) -> Path | Remote:
    """The folder or the repository that is meant; a folder that exists wins over a repository of that name.

    Args:
        name: A folder, ``OWNER/NAME`` or ``OWNER/NAME@REVISION``.
        revision: Tag, branch or commit of the repository, or version in a published folder; None = not said.

    Raises:
        InputDataError: If it is neither, if two revisions are named, or a folder has no such version.
    """
    if str(name) and Path(name).is_dir():
        return _version_of(Path(name), revision)
    found = _REMOTE.fullmatch(str(name))
    if not found:
        raise InputDataError(
            f"{str(name)!r} is neither a folder nor the name of a repository.",
            fix="Give a folder, or OWNER/NAME@REVISION on the Hub.",
            path=name,
        )
    if revision and found["revision"] not in (None, revision):
        raise InputDataError(
            f"Two revisions are named: {found['revision']} in {str(name)!r}, and {revision}.",
            fix="Name one.",
            path=name,
        )
    return Remote(found["repo"], revision or found["revision"] or "main")


def _version_of(folder: Path, revision: str | None) -> Path:
    versions = published_versions(folder)
    if revision is None and not versions:
        return folder
    if revision is not None and revision in versions:
        return folder / revision
    if revision is None:
        raise InputDataError(
            f"{folder} holds several versions of something published: {', '.join(versions)}.",
            fix=f'Name one: revision="{versions[-1]}".',
            path=folder,
        )
    raise InputDataError(
        f"{folder} has no version {revision!r}"
        + (f", only: {', '.join(versions)}." if versions else "; it is one folder, not a published one."),
        fix="Name one of these." if versions else "Leave the revision out.",
        path=folder,
    )


def published_versions(folder: Path) -> tuple[str, ...]:
    """Versions that a folder like ``share/OWNER/NAME`` holds, `vX.Y.Z`, the oldest first; none of any other folder."""
    found = [path.name for path in folder.iterdir() if _VERSION.fullmatch(path.name) and path.is_dir()]
    return tuple(sorted(found, key=lambda name: [int(part) for part in name[1:].split(".")]))


def weights_beside(version: Path) -> Path:
    """Where a published folder keeps the weights of a dataset's version: as on a Hub, both have one name.

    ``share/OWNER/NAME/v1.0.0`` -> ``share/models/OWNER/NAME/v1.0.0``, the path itself where there is no such folder.
    """
    owner, name = version.parent.parent, version.parent
    twin = owner.parent / "models" / owner.name / name.name / version.name
    return twin if twin.is_dir() else version
