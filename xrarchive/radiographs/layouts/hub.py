"""A dataset of a Hub: ``hf:owner/name@revision``. Its Parquet files are fetched into the client library's cache.

Only names of repositories are taken, never a URL, and nothing of the dataset's own code is run. The revision is
resolved to a commit once, which the set records.
"""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

from xrarchive.errors import InputDataError
from xrarchive.radiographs.layouts.parquet import read_files
from xrarchive.radiographs.layouts.rows import Choices, Reading

NAME = "hub"
_PREFIX = "hf:"
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")
_MAX_FILES = 10_000


def is_remote(source: Path) -> bool:
    """Whether `source` names a dataset of a Hub.

    Raises:
        InputDataError: If it is a URL, or begins as a Hub's name does and is none.
    """
    name = str(source)
    if _URL.match(name):
        raise InputDataError(
            f"{name!r} is a URL; none is ever opened.",
            fix="Download it and give the folder, or name a dataset of a Hub as hf:OWNER/NAME@REVISION.",
        )
    if not name.startswith(_PREFIX):
        return False
    if not _parse(name):
        raise InputDataError(
            f"{name!r} is no name of a dataset of a Hub.", fix="Write hf:OWNER/NAME or hf:OWNER/NAME@REVISION."
        )
    return True


def _parse(name: str) -> re.Match[str] | None:
    from xrarchive.hub.content import REPO  # here, as in `read`

    found = re.fullmatch(rf"{_PREFIX}(?P<repo>{REPO})(?:@(?P<revision>[\w./-]+))?", name, re.ASCII)
    return found if ".." not in name else None


def read(source: Path, choices: Choices) -> Reading:
    """Every row of the dataset's Parquet files.

    Raises:
        InputDataError: If the dataset holds no Parquet file, or as `read_files`.
        AccessError, RemoteError: If the Hub refuses or fails.
    """
    # Here, since only this layout speaks to a Hub.
    from xrarchive.hub.client import open_hub
    from xrarchive.hub.content import RepoContent

    found = _parse(str(source))
    if found is None:
        raise ValueError(f"{source} names no dataset of a Hub")
    content = RepoContent(found["repo"], "dataset", uploads=(), claims=())
    with open_hub(reading=True) as client:
        commit = client.commit_of(content, found["revision"] or "main")
        names = [name for name in sorted(client.tree(content, commit)) if name.endswith(".parquet") and _is_plain(name)]
        if not 0 < len(names) <= _MAX_FILES:
            raise InputDataError(
                f"{source} at {commit[:12]} holds {len(names):,} Parquet files.",
                fix=f"Try the Hub's own conversion, hf:{found['repo']}@refs/convert/parquet, or download the dataset.",
            )
        files = {name: client.download(content, name, commit) for name in names}
    return read_files(files, choices, {f"{_PREFIX}{found['repo']}": commit})


def _is_plain(name: str) -> bool:
    return ".." not in PurePosixPath(name).parts
