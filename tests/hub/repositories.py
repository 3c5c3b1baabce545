"""What the loopback Hub holds: repositories as git would see them, in memory."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from xet_store import XetFile


def git_sha1(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


@dataclass(frozen=True)
class StoredFile:
    """A file as the Hub keeps it: `kept` is its content, or where in the Xet store that is."""

    kept: bytes | XetFile
    large: bool

    @functools.cached_property
    def content(self) -> bytes:
        return self.kept if isinstance(self.kept, bytes) else self.kept.content

    @functools.cached_property
    def sha256(self) -> str:
        """Of the content; for a file in the Xet store as its client recorded it there."""
        return hashlib.sha256(self.kept).hexdigest() if isinstance(self.kept, bytes) else self.kept.sha256

    @property
    def size(self) -> int:
        return len(self.kept) if isinstance(self.kept, bytes) else self.kept.size

    @property
    def xet_hash(self) -> str | None:
        return None if isinstance(self.kept, bytes) else self.kept.xet_hash

    @functools.cached_property
    def git_oid(self) -> str:
        """Id of the blob in git: of the content, or of the LFS pointer to it."""
        pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{self.sha256}\nsize {self.size}\n".encode()
        return git_sha1(pointer if self.large else self.content)

    @property
    def etag(self) -> str:
        return self.sha256 if self.large else self.git_oid

    def as_json(self, path: str) -> dict[str, Any]:
        item: dict[str, Any] = {"type": "file", "path": path, "oid": self.git_oid, "size": self.size}
        if self.large:
            item["lfs"] = {"oid": self.sha256, "size": self.size, "pointerSize": 134}
        if self.xet_hash:
            item["xetHash"] = self.xet_hash
        return item


@dataclass(frozen=True)
class Commit:
    files: Mapping[str, StoredFile]
    parent: str | None
    title: str


@dataclass
class Repository:
    """One git repository: commits, branches and tags, all by 40-digit id."""

    kind: str
    name: str
    commits: dict[str, Commit] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    messages: dict[str, str] = field(default_factory=dict)  # of tags that have one
    settings: dict[str, Any] = field(default_factory=lambda: {"private": False, "gated": False})

    def copy(self) -> Repository:
        own = {item.name: dict(getattr(self, item.name)) for item in fields(self) if item.name not in ("kind", "name")}
        return replace(self, **own)

    def add_commit(self, files: Mapping[str, StoredFile], title: str) -> str:
        parent = self.branches.get("main")
        listing = sorted((path, file.git_oid) for path, file in files.items())
        commit_id = hashlib.sha1(json.dumps([listing, parent, title]).encode()).hexdigest()
        self.commits[commit_id] = Commit(dict(files), parent, title)
        self.branches["main"] = commit_id
        return commit_id

    def push(self, path: str, content: bytes) -> str:
        """Somebody else's commit of one small file."""
        files = {**self.head.files, path: StoredFile(content, large=False)}
        return self.add_commit(files, f"Add {path}")

    def resolve(self, revision: str) -> str | None:
        known = {**{commit: commit for commit in self.commits}, **self.tags, **self.branches}
        return known.get(revision)

    @property
    def head(self) -> Commit:
        return self.commits[self.branches["main"]]

    @property
    def history(self) -> list[str]:
        """Titles of main's commits, newest first."""
        titles, commit_id = [], self.branches.get("main")
        while commit_id:
            titles.append(self.commits[commit_id].title)
            commit_id = self.commits[commit_id].parent
        return titles
