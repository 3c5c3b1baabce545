"""What faults befall: a tiny archive with weights, a fresh loopback Hub for this process's client, and what must hold.

Used by `fault_matrix.py`, `kill_publishes.py` and their tests.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import itertools
import logging
import os
import traceback
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Literal
from unittest import mock

from loopback import TOKEN, LoopbackHub, serve
from repositories import Repository
from tiny_archive import TinyArchive, make_archive
from xet_store import XetStore

from xrarchive.errors import XrArchiveError
from xrarchive.files import sha256_file
from xrarchive.hub import Publication, RepoContent, plan_publication
from xrarchive.hub.fetching import open_source

REPO, MODEL_REPO, TAG = "tester/xrays", "tester/xray-weights", "v1.0.0"
CANARY = "CANARY"  # part of every token of the loopback Hub
INITIAL = "initial commit"
Transport = Literal["lfs", "xet"]
# The wait between tries of hf_xet, which sleeps in Rust.
_XET_SETTINGS = {"HF_XET_CLIENT_RETRY_BASE_DELAY": "5ms", "HF_XET_CLIENT_RETRY_MAX_ATTEMPTS": "2"}


@dataclass
class World:
    """A release to be disturbed, and where its Hubs keep what they keep."""

    archive: TinyArchive
    plan: Publication
    folder: Path
    transports: tuple[Transport, ...]  # that work on this machine
    hubs: Iterator[int] = field(default_factory=itertools.count)


def make_world(folder: Path) -> World:
    archive = make_archive(folder / "made")
    plan = plan_publication(
        archive.folder, REPO, "1.0.0", model_repo=MODEL_REPO, weights=archive.weights, model_card="# Weights"
    )
    return World(archive, plan, folder, ("lfs", "xet") if XetStore(folder / "probe").works() else ("lfs",))


@contextlib.contextmanager
def fresh_hub(
    world: World, transport: Transport, *, patience_s: float = 20.0
) -> Iterator[tuple[LoopbackHub, list[float]]]:
    """An empty Hub that this process's client talks to; and what it waited, instead of waiting."""
    import huggingface_hub
    from huggingface_hub import constants
    from huggingface_hub.utils import _http

    from xrarchive.hub import client

    waits: list[float] = []
    folder = world.folder / f"hub-{next(world.hubs)}"
    patches = (
        mock.patch.dict(os.environ, {"HF_TOKEN": TOKEN, **_XET_SETTINGS}),
        mock.patch.object(constants, "HF_HUB_DISABLE_XET", transport == "lfs"),
        mock.patch.object(constants, "HF_HUB_CACHE", str(folder / "cache")),
        mock.patch.object(_http, "time", SimpleNamespace(**{**vars(_http.time), "sleep": waits.append})),
        mock.patch.object(client, "_READ_TIMEOUT_S", patience_s),
    )
    with contextlib.ExitStack() as stack, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Use 'content=<...>'", DeprecationWarning)  # the client library's own
        for patch in patches:
            stack.enter_context(patch)
        hub, url = stack.enter_context(serve(folder))
        stack.enter_context(mock.patch.dict(os.environ, {"HF_ENDPOINT": url}))
        huggingface_hub.close_session()
        try:
            yield hub, waits
        finally:
            huggingface_hub.close_session()


def read_release(world: World, waits: list[float]) -> None:
    """Read manifest and every shard by the tag; all of it is the archive's."""
    with open_source(f"{REPO}@{TAG}", sleep=waits.append) as source:
        assert source.manifest.sha256 == world.plan.manifest_sha256
        for name, record in source.manifest.files.items():
            assert sha256_file(source.open_shard(name)) == record.sha256


def attempt(
    action: Callable[[], object], allowed: tuple[type[XrArchiveError], ...], said: io.StringIO
) -> XrArchiveError | None:
    """What `action` raised, which must be one of ours and say what to do next; None if it ended well."""
    raised = None
    try:
        action()
    except XrArchiveError as err:
        raised = err
        said.write("".join(traceback.format_exception(err)) + str(err.as_dict()))
    assert raised is None or isinstance(raised, allowed), f"ended with {type(raised).__name__}: {raised}"
    assert raised is None or raised.fix, "no next step is told"
    return raised


@contextlib.contextmanager
def heard(said: io.StringIO) -> Iterator[None]:
    """Keep all that is logged, by whichever library, at whichever level."""
    handler, root = logging.StreamHandler(said), logging.getLogger()
    before = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        yield
    finally:
        root.removeHandler(handler)
        root.setLevel(before)


def check_released(hub: LoopbackHub, plan: Publication) -> None:
    """One commit and one tag in each repository, holding exactly what was planned."""
    for content in plan.contents:
        repository = repository_of(hub, content)
        assert repository is not None, f"{content.repo} was not made"
        assert repository.history == [f"Publish {plan.tag}", INITIAL], repository.history
        assert repository.tags == {plan.tag: repository.branches["main"]}, repository.tags
        assert holds(repository, repository.branches["main"], content), "other content than the archive's"


def check_never_half(hub: LoopbackHub, plan: Publication) -> None:
    """Every commit there is, is the one before us or whole; a tag is on a whole one."""
    for content in plan.contents:
        repository = repository_of(hub, content)
        for commit, found in ({} if repository is None else repository.commits).items():
            assert repository is not None
            whole = holds(repository, commit, content)
            assert whole or found.title == INITIAL, f"a commit of {content.repo} is half a release"
            assert whole or commit not in repository.tags.values(), f"a tag of {content.repo} is on half a release"


def repository_of(hub: LoopbackHub, content: RepoContent) -> Repository | None:
    return hub.repositories.get((f"{content.kind}s", content.repo))


def holds(repository: Repository, commit: str, content: RepoContent) -> bool:
    """Whether a commit holds the content, byte for byte, and nothing else but what the Hub put there."""
    files = {path: file for path, file in repository.commits[commit].files.items() if path != ".gitattributes"}
    ours = {item.path: item for item in content.uploads}
    return files.keys() == ours.keys() and all(
        hashlib.sha256(file.content).hexdigest() == ours[path].sha256 for path, file in files.items()
    )


def check_canary(folder: Path) -> None:
    """No file below `folder` holds a token."""
    for path in folder.rglob("*"):
        assert not path.is_file() or CANARY.encode() not in path.read_bytes(), f"{path.name} holds a token"
