"""Archives on a Hub, file by file: the manifest at once, a shard when it is asked for.

In: a folder, or ``owner/name@revision``. Out: a `Source` for comparing. The revision is resolved to a commit once, so
that a branch which moves meanwhile mixes nothing. Files land in the client library's cache, where they are found again;
a shard is what the manifest says, byte for byte, or an error.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

from xrarchive.archive.manifest import MANIFEST_NAME, RETRACTIONS_NAME, Manifest, is_shard, read_manifest
from xrarchive.archive.source import Source, open_folder
from xrarchive.errors import AccessError, DamageError, InputDataError, RemoteError, StorageError
from xrarchive.files import sha256_file, write_bytes
from xrarchive.hub.addressing import Retraction, load_retractions
from xrarchive.hub.client import MAX_TRIES, HubClient, open_hub
from xrarchive.hub.content import RepoContent
from xrarchive.hub.faults import TransientError
from xrarchive.hub.locating import Remote, locate
from xrarchive.hub.versions import list_versions

_FEW_TRIES = 2  # of asking what a tag names, where the cache knows what it named before, or the answer can be missed

_log = logging.getLogger(__name__)


@contextlib.contextmanager
def open_source(
    name: str | Path, *, revision: str | None = None, sleep: Callable[[float], None] = time.sleep
) -> Iterator[Source]:
    """An archive to read from: a folder, or else a dataset repository of the Hub, at `main` unless a revision is named.

    A repository that was read before is read from the client library's cache where the Hub cannot be reached.

    Args:
        name: As `locating.locate` takes it.
        revision: As `locating.locate` takes it.
        sleep: Called with seconds between tries.

    Raises:
        InputDataError: If it is neither, or holds no archive, or the repository has no such revision.
        AccessError: If there is no such repository, or it is not for us to read.
        RemoteError, DamageError: See their descriptions.
    """
    found = locate(name, revision)
    if isinstance(found, Path):
        if revision is not None:
            _warn_if_retracted_in_folder(found)
        yield open_folder(found)
        return
    with open_hub(reading=True, sleep=sleep) as hub:
        yield _open_remote(hub, f"{found.repo}@{found.revision}" if revision else str(name), found)


def _warn_if_retracted_in_folder(version: Path) -> None:
    """Say that a version in a published folder was taken back, and why; reading it is still the reader's right."""
    from xrarchive.hub.shelf import read_index

    notice = read_index(version.parent).get(version.name, {}).get("retracted")
    if notice:
        _warn_of(str(version), Retraction(**notice))


def _warn_if_retracted(hub: HubClient, content: RepoContent, tag: str) -> None:
    """The same of a version on a Hub; where nobody answers, what the cache knows counts."""
    with contextlib.suppress(AccessError, RemoteError, DamageError):  # as a rule there is no such tag
        path, _ = fetch(hub, content, RETRACTIONS_NAME, f"{tag}-retracted", tries=_FEW_TRIES)
        if notice := load_retractions(path).get(tag):
            _warn_of(f"{content.repo}@{tag}", notice)


def _warn_of(version: str, notice: Retraction) -> None:
    _log.warning("%s was retracted on %s: %s", version, notice.date, notice.reason)


def to_read(repo: str, kind: Literal["dataset", "model"]) -> RepoContent:
    """A repository that nothing is to be sent to."""
    return RepoContent(repo, kind, uploads=(), claims=())


def fetch(
    hub: HubClient, content: RepoContent, path: str, revision: str, *, tries: int = MAX_TRIES
) -> tuple[Path, str]:
    """A local copy of a file at the top of a repository, and the commit that the revision names.

    Which commit that was is kept in the client library's cache. Where the Hub cannot be reached later, the same
    revision means the same commit; a warning is logged.

    Args:
        hub: To ask.
        content: The repository.
        path: The file in it.
        revision: Tag, branch or commit.
        tries: How often to ask what the revision names, where the cache does not know.
    """
    known = _remembered(content, path, revision)
    try:
        commit = hub.commit_of(content, revision, tries=tries if known is None else min(tries, _FEW_TRIES))
    except RemoteError as err:
        if known is None or not _out_of_reach(err):
            raise
        commit = known
        _log.warning("%s Taken from the cache instead: commit %s.", err.message, commit)
    local = hub.download(content, path, commit)
    _remember(local, revision, commit)
    return local, commit


def _remembered(content: RepoContent, path: str, revision: str) -> str | None:
    """The commit a revision named when this file was last fetched, None if it never was."""
    from huggingface_hub import try_to_load_from_cache

    cached = try_to_load_from_cache(content.repo, path, revision=revision, repo_type=content.kind)
    return Path(cached).parent.name if isinstance(cached, str) else None


def _out_of_reach(err: RemoteError) -> bool:
    from huggingface_hub import errors

    return isinstance(err, TransientError) or isinstance(err.__cause__, errors.OfflineModeIsEnabled)


def _remember(local: Path, revision: str, commit: str) -> None:
    """Note in the cache which commit a tag or branch names, as the client library itself does for what it resolves."""
    storage = local.parents[2]  # …/snapshots/<commit>/<file>
    note = storage / "refs" / revision
    if revision != commit and storage / "refs" in note.parents and ".." not in note.parts:
        with contextlib.suppress(OSError, StorageError):  # a cache that cannot be written is still one to read
            write_bytes(note, commit.encode())


def _open_remote(hub: HubClient, name: str, found: Remote) -> Source:
    content = to_read(found.repo, "dataset")
    with told_apart(name, MANIFEST_NAME):
        path, commit = fetch(hub, content, MANIFEST_NAME, found.revision)
        manifest = read_manifest(path.parent)
    if list_versions([found.revision]):
        _warn_if_retracted(hub, content, found.revision)
    if strange := sorted(path for path in manifest.files if not is_shard(path)):
        raise DamageError(f"The manifest of {name} names {strange[0]!r}, which is no shard.", fix="Publish it again.")

    def open_shard(path: str) -> Path:
        with told_apart(name, path):
            local = hub.download(content, path, commit)
        return _verified(local, path, name, manifest)

    return Source(name, manifest, open_shard)


def _verified(local: Path, path: str, name: str, manifest: Manifest) -> Path:
    if (found := sha256_file(local)) != manifest.files[path].sha256:
        raise DamageError(
            f"{path} of {name} has sha256 {found[:12]}, its manifest says {manifest.files[path].sha256[:12]}.",
            fix=f"Remove {local.resolve()} and run the same command again; if that does not help, publish again.",
            path=local,
        )
    return local


@contextlib.contextmanager
def told_apart(name: str, path: str, *, what: str = "archive") -> Iterator[None]:
    """Say what a fault means to somebody who reads.

    Args:
        name: What they asked for.
        path: The file that is read.
        what: What is looked for, which `path` would show to be there.
    """
    from huggingface_hub import errors

    try:
        yield
    except AccessError as err:
        raise AccessError(
            f"There is no folder {name}, and no such repository that we may read: {err.message}",
            fix="Check the name; for a private repository log in with `hf auth login`, or set HF_TOKEN; for a gated "
            "one also ask for access on its page.",
        ) from err
    except TransientError as err:
        raise RemoteError(err.message, fix="Run the same command again; what was downloaded is kept.") from err
    except RemoteError as err:
        if isinstance(err.__cause__, errors.OfflineModeIsEnabled):
            raise RemoteError(
                f"{path} of {name} is not in the cache, and HF_HUB_OFFLINE is set.",
                fix="Run the same command once with a network and HF_HUB_OFFLINE unset, with the same revision.",
            ) from err
        if isinstance(err.__cause__, errors.RevisionNotFoundError):
            raise InputDataError(
                f"The repository of {name} has no such revision.", fix="Give a tag, a branch or a commit of it."
            ) from err
        if isinstance(err.__cause__, errors.EntryNotFoundError) and not is_shard(path):
            raise InputDataError(f"{name} holds no {what}: no {path}.", fix="Give another revision.") from err
        if isinstance(err.__cause__, errors.EntryNotFoundError):
            raise DamageError(f"{name} lacks {path}, which its manifest names.", fix="Publish it again.") from err
        raise
