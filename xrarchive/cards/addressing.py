"""Where an archive is published, put into what `card` wrote before anyone knew.

In: the bytes of README.md, SCORECARD.md, croissant.json or CITATION.cff, a repository and a version. Out: the bytes
that go up. Only `OWNER/NAME`, `vX.Y.Z` and the version of the two machine-readable files change.
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from xrarchive.archive.manifest import CITATION_NAME, CROISSANT_NAME, README_NAME, SCORECARD_NAME

REPO, TAG = "OWNER/NAME", "vX.Y.Z"
ADDRESSED = (README_NAME, SCORECARD_NAME, CROISSANT_NAME, CITATION_NAME)
_VERSIONS = {
    CROISSANT_NAME: re.compile(rb'^(  "version": )"[^"\n]*"', re.MULTILINE),
    CITATION_NAME: re.compile(rb'^(version: )"?[^"\n]*"?', re.MULTILINE),
}


def fill_in(path: str, content: bytes, *, repo: str, version: str) -> bytes:
    """The content of a file as it goes to `repo` under `version`; that of all but `ADDRESSED` is left as it is.

    Args:
        path: Of the file, relative to the archive, posix.
        content: As `card` wrote it.
        repo: ``owner/name``.
        version: ``X.Y.Z``.
    """
    name = PurePosixPath(path).as_posix()
    if name not in ADDRESSED:
        return content
    if name in _VERSIONS:
        content = _VERSIONS[name].sub(rb'\g<1>"%s"' % version.encode(), content, count=1)
    return content.replace(REPO.encode(), repo.encode()).replace(TAG.encode(), f"v{version}".encode())
