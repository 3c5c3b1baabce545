"""Publish into a folder, or a share that is mounted: the same versions as on a Hub, for those who have none.

    ROOT/OWNER/NAME/v1.0.0/          a complete archive: `load_dataset` reads it, `xrarchive check` checks it
    ROOT/OWNER/NAME/index.json       versions, their files with hashes, what was retracted and why
    ROOT/models/OWNER/NAME/v1.0.0/   the weights

In: a checked plan and a folder. Out: a `Receipt`. A version is written under a temporary name and renamed when it is
whole and on disk: a reader sees all of it or nothing, and whoever was killed leaves nothing that is read. What is there
never changes. Shards that an older version holds too are the same file (a hard link) where the file system can do that.
The folders are the truth; the index is written after them, and made good by the next run if that was killed between.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from xrarchive.archive.manifest import MANIFEST_NAME, RETRACTIONS_NAME, Manifest, read_manifest
from xrarchive.archive.source import open_folder
from xrarchive.errors import DamageError, InputDataError, PlanChangedError, SettingsError
from xrarchive.files import atomic_folder, locked, read_json, sha256_file, write_json
from xrarchive.hub.addressing import Retraction, WeightsLink, address, dump_retractions, load_retractions
from xrarchive.hub.content import RepoContent, Upload, in_memory
from xrarchive.hub.plan import Publication
from xrarchive.hub.publishing import Receipt, write_receipt
from xrarchive.hub.versions import Standing, describe_difference, fitting_version, list_versions
from xrarchive.records import OnStatus, Status, ignore_status

INDEX_NAME = "index.json"
INDEX_SCHEMA = "xrarchive.index/1"
MODELS = "models"
_BLOCK_BYTES = 1 << 20
_READ_ONLY = 0o444


def publish_to_folder(
    publication: Publication,
    root: Path,
    *,
    confirm: Callable[[Publication], bool] = lambda _plan: True,
    on_status: OnStatus = ignore_status,
) -> Receipt | None:
    """Publish a version into a folder, or find that it is there already.

    Args:
        publication: From `plan_publication`.
        root: An existing folder: one that is not there may be a share that is not mounted.
        confirm: Asked before anything is written, with the version settled.
        on_status: Told about copying, in bytes.

    Returns:
        The receipt, None if `confirm` said no.

    Raises:
        InputDataError: If `root` is no folder.
        SettingsError: If the version is lower than the change since the last one demands.
        PlanChangedError: If the version exists with other content. Nothing was changed.
        LockedError, StorageError: If another process publishes there, or the disk refuses.
        DamageError: If a file changed since the plan was made, or cannot be read back as it was written.
    """
    settled = look_at_folder(publication, root)
    if not confirm(settled):
        return None
    receipts: dict[str, Receipt] = {}
    for content in settled.contents:
        ready = _addressed(settled, content, root)
        already = _put(settled, ready, root, on_status)
        receipts[content.kind] = _receipt(settled, content, root, already=already)
    access = settled.access.as_dict()
    receipt = replace(receipts["dataset"], model=receipts.get("model"), withheld=settled.withheld, access=access)
    write_receipt(settled, receipt)
    return receipt


def look_at_folder(publication: Publication, root: Path) -> Publication:
    """The plan with its version settled by what the folder holds. Only reads.

    Raises:
        InputDataError, SettingsError, PlanChangedError: As `publish_to_folder`.
    """
    _require_folder(root)
    place = place_of(root, publication.dataset)
    versions = list_versions(path.name for path in _version_folders(place))

    def differs(version: str) -> str:
        plan = replace(publication, version=version)
        found = (_difference(_addressed(plan, content, root), _place(plan, content, root)) for content in plan.contents)
        return ", ".join(path for paths in found for path in paths)

    standing = Standing(versions, lambda version: _manifest(place / f"v{version}"), differs)
    version = fitting_version(publication.asked_version, publication.manifest, standing)
    notes = [f"Published into {place}."] + ([f"Published is {versions[-1]}."] if versions else [])
    settled = replace(publication, version=version, notes=(*publication.notes, *notes))
    if version in versions:
        _require_same(settled, _addressed(settled, settled.dataset, root), root)
    return settled


def place_of(root: Path, content: RepoContent) -> Path:
    """The folder of a repository's versions."""
    if content.repo.startswith(f"{MODELS}/"):
        raise SettingsError(
            f"A folder keeps weights below {MODELS}/, so that no owner can be called that.", fix="Give another owner."
        )
    return root / MODELS / content.repo if content.kind == "model" else root / content.repo


def _require_folder(root: Path) -> None:
    if not root.is_dir():
        raise InputDataError(
            f"There is no folder {root} to publish into.", fix="Make it, or mount the share, then try again.", path=root
        )


def _place(plan: Publication, content: RepoContent, root: Path) -> Path:
    return place_of(root, content) / plan.tag


def _addressed(plan: Publication, content: RepoContent, root: Path) -> RepoContent:
    """The content with repository, version, weights, and what was retracted before this version, put in."""
    weights = None
    if content.kind == "dataset" and plan.model is not None:
        weights = WeightsLink(plan.model.repo, plan.tag, "")
    retracted = _retracted(_place(plan, content, root)) if content.kind == "dataset" else {}
    if retracted:
        notices = in_memory(RETRACTIONS_NAME, dump_retractions(retracted))
        content = replace(content, uploads=(*content.uploads, notices))
    return address(content, plan.tag, weights=weights, retracted=retracted)


def _retracted(target: Path) -> dict[str, Retraction]:
    """Versions that were taken back when this one was published, or are now if it is not yet."""
    if not target.exists():
        index = read_index(target.parent)
        return {tag: Retraction(**entry["retracted"]) for tag, entry in index.items() if entry["retracted"]}
    noted = target / RETRACTIONS_NAME
    return load_retractions(noted) if noted.is_file() else {}


def _put(plan: Publication, content: RepoContent, root: Path, on_status: OnStatus) -> bool:
    """Write a version; whether it was there already."""
    target = _place(plan, content, root)
    with locked(target.parent):
        there = target.exists()
        if there:
            _require_same(plan, content, root)
        else:
            known = _known_files(target.parent)
            with atomic_folder(target) as temporary:
                _fill(temporary, content, known, on_status)
        _note(target.parent, content)
    return there


def _fill(folder: Path, content: RepoContent, known: Mapping[str, Path], on_status: OnStatus) -> None:
    done = 0
    for item in content.uploads:
        on_status(Status(done, content.bytes, "bytes", f"writing {item.path}"))
        target = folder / item.path
        target.parent.mkdir(parents=True, exist_ok=True)
        if not _link(known.get(item.sha256), target, item):
            _copy(item, target)
        target.chmod(_READ_ONLY)
        done += item.bytes
    on_status(Status(done, content.bytes, "bytes", "written"))


def _link(source: Path | None, target: Path, item: Upload) -> bool:
    """Whether an older version's file, found to be sound, could be taken."""
    if source is None or isinstance(item.source, bytes) or not source.is_file() or sha256_file(source) != item.sha256:
        return False
    with contextlib.suppress(OSError):  # a file system without hard links, or with too many of them
        os.link(source, target)
        return True
    return False


def _copy(item: Upload, target: Path) -> None:
    digest = hashlib.sha256()
    with target.open("wb") as stream:
        for block in _read(item):
            digest.update(block)
            stream.write(block)
        stream.flush()
        os.fsync(stream.fileno())
    if digest.hexdigest() != item.sha256:
        raise DamageError(
            f"{item.source!s} changed while it was copied; nothing was published.",
            fix="Wait until nothing writes to the archive, run `xrarchive check`, then publish again.",
            path=str(item.source),
        )


def _read(item: Upload) -> Iterator[bytes]:
    if isinstance(item.source, bytes):
        yield item.source
        return
    with item.source.open("rb") as stream:
        while block := stream.read(_BLOCK_BYTES):
            yield block


def _require_same(plan: Publication, content: RepoContent, root: Path) -> None:
    target = _place(plan, content, root)
    if not (differing := _difference(content, target)):
        return
    old = _manifest(target)
    images = describe_difference(open_folder(target), open_folder(plan.archive_dir)) if old else ""
    raise PlanChangedError(
        f"{target} exists already with other content: {', '.join(differing[:3])} differ"
        f"{f'; {images}' if images else ''}. A published version never changes.",
        fix="Publish under a higher --version, or leave it out: the next fitting one is taken.",
        path=target,
    )


def _difference(content: RepoContent, folder: Path) -> list[str]:
    """Paths that a version's folder lacks, has otherwise, or has too much of."""
    ours = {item.path: item for item in content.uploads}
    there = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    same = {path for path in there & ours.keys() if sha256_file(folder / path) == ours[path].sha256}
    return sorted((ours.keys() | there) - same)


def _manifest(folder: Path) -> Manifest | None:
    with contextlib.suppress(InputDataError, DamageError):
        return read_manifest(folder)
    return None


def _version_folders(place: Path) -> list[Path]:
    found = {path.name: path for path in place.iterdir() if path.is_dir()} if place.is_dir() else {}
    return [found[f"v{version}"] for version in list_versions(found)]


def read_index(place: Path) -> dict[str, Any]:
    """What the index says of each version, by tag; nothing where there is none yet.

    Raises:
        InputDataError: If it is of a format we do not know.
        DamageError: If it cannot be read.
    """
    path = place / INDEX_NAME
    if not path.exists():
        return {}
    found = read_json(path, what="index of versions", fix="Restore it, or remove it: it is written anew.")
    if found.get("schema") != INDEX_SCHEMA:
        raise InputDataError(f"{path} is of format {found.get('schema')!r}.", fix="Update xrarchive.", path=path)
    versions: dict[str, Any] = found["versions"]
    return versions


def write_index(place: Path, content: RepoContent, versions: Mapping[str, Any]) -> None:
    """Write the index atomically, unless it says that already."""
    if versions != read_index(place):
        value = {"schema": INDEX_SCHEMA, "repo": content.repo, "kind": content.kind, "versions": versions}
        write_json(place / INDEX_NAME, value)


def _note(place: Path, content: RepoContent) -> None:
    """Make the index name every version that is there."""
    noted = read_index(place)
    folders = _version_folders(place)
    write_index(place, content, {path.name: noted.get(path.name) or _entry(path) for path in folders})


def _entry(folder: Path) -> dict[str, Any]:
    files = {
        path.relative_to(folder).as_posix(): {"bytes": path.stat().st_size, "sha256": sha256_file(path)}
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    manifest = files.get(MANIFEST_NAME)
    return {"manifest_sha256": manifest["sha256"] if manifest else None, "files": files, "retracted": None}


def _known_files(place: Path) -> dict[str, Path]:
    """Files of versions that are there, by sha256."""
    return {
        record["sha256"]: place / tag / path
        for tag, entry in read_index(place).items()
        for path, record in entry["files"].items()
    }


def _receipt(plan: Publication, content: RepoContent, root: Path, *, already: bool) -> Receipt:
    return Receipt(
        endpoint=str(root),
        repo=content.repo,
        version=plan.version,
        tag=plan.tag,
        commit="",
        manifest_sha256=plan.manifest_sha256,
        already_published=already,
        folder=str(_place(plan, content, root)),
    )
