"""Weight files of a model repository, fetched one by one, as `publish` put them there.

In: a repository at a revision. Out: the path of a file in the client library's cache, of the bytes the Hub names.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from xrarchive.errors import AccessError, DamageError, InputDataError, XrArchiveError
from xrarchive.files import sha256_file
from xrarchive.hub.client import HubClient, open_hub
from xrarchive.hub.fetching import fetch, to_read, told_apart
from xrarchive.hub.locating import Remote

_SHA256 = re.compile("[0-9a-f]{64}")


def fetch_weights(found: Remote, file: str, *, sleep: Callable[[float], None] = time.sleep) -> Path:
    """A weight file of a model repository; from the cache, if it was fetched before and the Hub cannot be reached.

    Args:
        found: The repository.
        file: Such as ``generator.safetensors``.
        sleep: Called with seconds between tries.

    Raises:
        InputDataError: If the repository is a dataset, has no such revision, or holds no such file.
        AccessError: If there is no such repository, or it is not for us to read.
        DamageError: If the bytes in the cache are not those the Hub named.
        RemoteError: If the Hub cannot be reached, and the file is not in the cache.
    """
    name = f"{found.repo}@{found.revision}"
    with open_hub(reading=True, sleep=sleep) as hub, _not_a_dataset(hub, found), told_apart(name, file, what="weights"):
        local, _ = fetch(hub, to_read(found.repo, "model"), file, found.revision)
    named = local.resolve().name  # of a large file, the cache's own name is its sha256 as the Hub has it
    if _SHA256.fullmatch(named) and (sha256 := sha256_file(local)) != named:
        raise DamageError(
            f"{file} of {name} has sha256 {sha256[:12]} in the cache, the Hub says {named[:12]}.",
            fix=f"Remove {local.resolve()} and run the same command again.",
            path=local,
        )
    return local


@contextlib.contextmanager
def _not_a_dataset(hub: HubClient, found: Remote) -> Iterator[None]:
    """Say so where a dataset has the name that no model repository has."""
    try:
        yield
    except AccessError:
        if _is_dataset(hub, found.repo):
            raise InputDataError(
                f"{found.repo} is a dataset; there are no weights of that name.",
                fix=f'Load it with xrarchive.load("{found.repo}"); its card names its weights, if they are published.',
            ) from None
        raise


def _is_dataset(hub: HubClient, repo: str) -> bool:
    try:
        hub.commit_of(to_read(repo, "dataset"), None)
    except XrArchiveError:
        return False
    return True
