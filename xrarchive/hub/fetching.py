"""Archives on a Hub, file by file: the manifest at once, a shard when it is asked for.

In: a folder, or ``owner/name@revision``. Out: a `Source` for comparing. The revision is resolved to a commit once, so
that a branch which moves meanwhile mixes nothing. Files land in the client library's cache, where they are found again;
a shard is what the manifest says, byte for byte, or an error.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from xrarchive.archive.manifest import MANIFEST_NAME, Manifest, is_shard, read_manifest
from xrarchive.archive.source import Source, open_folder
from xrarchive.errors import AccessError, DamageError, InputDataError, RemoteError
from xrarchive.files import sha256_file
from xrarchive.hub.client import HubClient, open_hub
from xrarchive.hub.content import RepoContent
from xrarchive.hub.faults import TransientError

# The Hub's names hold no `--` or `..` and do not end with `.git`.
_REMOTE = re.compile(
    r"(?![^@]*(--|\.\.))(?P<repo>[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*(?<!\.git))(@(?P<revision>[^\s@]+))?", re.ASCII
)


@contextlib.contextmanager
def open_source(name: str | Path, *, sleep: Callable[[float], None] = time.sleep) -> Iterator[Source]:
    """An archive to read from: a folder, or else a dataset repository of the Hub, at `main` unless a revision is named.

    Args:
        name: A folder that exists wins over a repository of that name.
        sleep: Called with seconds between tries.

    Raises:
        InputDataError: If it is neither, or holds no archive, or the repository has no such revision.
        AccessError: If there is no such repository, or it is not for us to read.
        RemoteError, DamageError: See their descriptions.
    """
    if str(name) and Path(name).is_dir():
        yield open_folder(Path(name))
        return
    found = _REMOTE.fullmatch(str(name))
    if not found:
        raise InputDataError(
            f"{str(name)!r} is neither a folder nor the name of a repository.",
            fix="Give the folder of an archive, or OWNER/NAME@REVISION on the Hub.",
            path=name,
        )
    with open_hub(reading=True, sleep=sleep) as hub:
        yield _open_remote(hub, str(name), found["repo"], found["revision"] or "main")


def _open_remote(hub: HubClient, name: str, repo: str, revision: str) -> Source:
    content = RepoContent(repo, "dataset", uploads=(), claims=())
    with _told_apart(name):
        commit = hub.commit_of(content, revision)
        manifest = read_manifest(hub.download(content, MANIFEST_NAME, commit).parent)
    if strange := sorted(path for path in manifest.files if not is_shard(path)):
        raise DamageError(f"The manifest of {name} names {strange[0]!r}, which is no shard.", fix="Publish it again.")

    def open_shard(path: str) -> Path:
        with _told_apart(name, path):
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
def _told_apart(name: str, path: str = MANIFEST_NAME) -> Iterator[None]:
    """Say what a fault means to somebody who reads."""
    from huggingface_hub import errors

    try:
        yield
    except AccessError as err:
        raise AccessError(
            f"There is no folder {name}, and no such repository that we may read: {err.message}",
            fix="Check the name; for a private repository log in with `hf auth login`, or set HF_TOKEN.",
        ) from err
    except TransientError as err:
        raise RemoteError(err.message, fix="Run the same command again; what was downloaded is kept.") from err
    except RemoteError as err:
        if isinstance(err.__cause__, errors.RevisionNotFoundError):
            raise InputDataError(
                f"The repository of {name} has no such revision.", fix="Give a tag, a branch or a commit of it."
            ) from err
        if isinstance(err.__cause__, errors.EntryNotFoundError) and path == MANIFEST_NAME:
            raise InputDataError(f"{name} holds no archive: no {path}.", fix="Give another revision.") from err
        if isinstance(err.__cause__, errors.EntryNotFoundError):
            raise DamageError(f"{name} lacks {path}, which its manifest names.", fix="Publish it again.") from err
        raise
