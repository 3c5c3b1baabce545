"""What a repository is to hold: files with size and hash, and what of its old files is ours to remove."""

from __future__ import annotations

import builtins
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from xrarchive.files import sha256_bytes

Kind = Literal["dataset", "model"]
# The Hub's names, as a regular expression: they hold no `--` or `..` and do not end with `.git`.
REPO = r"[A-Za-z0-9](?:(?!--|\.\.)[\w.-])*/[A-Za-z0-9](?:(?!--|\.\.)[\w.-])*(?<!\.git)"


@dataclass(frozen=True)
class Upload:
    """One file that goes up: `source` is its local path, or its content where that was read already.

    `changed_ns` is when a local file was last changed, as its hash was taken; 0 = not known.
    """

    path: str
    source: Path | bytes
    bytes: int
    sha256: str
    changed_ns: int = 0

    def git_sha1(self) -> str:
        """The id git gives this content; the Hub reports it for files it keeps in git itself."""
        digest = hashlib.sha1(b"blob %d\0" % self.bytes, usedforsecurity=False)
        if isinstance(self.source, bytes):
            digest.update(self.source)
            return digest.hexdigest()
        with self.source.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
        return digest.hexdigest()

    def is_untouched(self) -> bool:
        """Whether a local file is, by size and time of change, the one that was hashed."""
        if isinstance(self.source, bytes):
            return True
        found = self.source.stat()
        return (found.st_size, found.st_mtime_ns) == (self.bytes, self.changed_ns)


@dataclass(frozen=True)
class RepoContent:
    """What one repository is to hold.

    Attributes:
        repo: ``owner/name``.
        kind: The Hub's repository type.
        uploads: The files, in the order they go up.
        claims: Files, and folders ending in ``/``, that belong to us: what the repository holds there beyond `uploads`
            is left over from an earlier version and is removed in the same commit. All else is left alone.
    """

    repo: str
    kind: Kind
    uploads: tuple[Upload, ...]
    claims: tuple[str, ...]

    def claims_path(self, path: str) -> bool:
        """Whether a path in the repository is ours to remove."""
        return any(path.startswith(claim) if claim.endswith("/") else path == claim for claim in self.claims)

    @property
    def bytes(self) -> int:
        """Total size of the files."""
        return sum(item.bytes for item in self.uploads)

    @property
    def texts(self) -> Mapping[str, builtins.bytes]:
        """The small files, by path: those that are sent from memory."""
        return {item.path: item.source for item in self.uploads if isinstance(item.source, bytes)}

    def with_texts(self, texts: Mapping[str, builtins.bytes]) -> RepoContent:
        """The same with other bytes for some of the small files, in the same order."""
        uploads = (in_memory(item.path, texts[item.path]) if item.path in texts else item for item in self.uploads)
        return replace(self, uploads=tuple(uploads))

    def as_dict(self) -> dict[str, object]:
        """The machine-readable form of ``publish --dry-run --json``."""
        files = [{"path": item.path, "bytes": item.bytes, "sha256": item.sha256} for item in self.uploads]
        return {"repo": self.repo, "kind": self.kind, "bytes": self.bytes, "files": files}


def in_memory(path: str, content: bytes) -> Upload:
    """A small file, sent from memory."""
    return Upload(path, content, len(content), sha256_bytes(content))
