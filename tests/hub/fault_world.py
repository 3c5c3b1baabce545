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
from xrarchive.hub import Publication, RepoContent, plan_publication, publish
from xrarchive.hub.fetching import open_source

REPO, MODEL_REPO = "tester/xrays", "tester/xray-weights"
VERSION, TAG, FIRST_TAG = "2.0.0", "v2.0.0", "v1.0.0"
# What publishing fills in, so that it differs from the archive's; SHA256SUMS speaks for it.
ADDRESSED = frozenset({"README.md", "SHA256SUMS", "CITATION.cff", "croissant.json"})
CANARY = "CANARY"  # part of every token of the loopback Hub
INITIAL = "initial commit"
Transport = Literal["lfs", "xet"]
# The wait between tries of hf_xet, which sleeps in Rust.
_XET_SETTINGS = {"HF_XET_CLIENT_RETRY_BASE_DELAY": "5ms", "HF_XET_CLIENT_RETRY_MAX_ATTEMPTS": "2"}


@dataclass
class World:
    """A release to be disturbed: version 2 of a dataset of which the Hub has version 1, and weights it does not know.

    `before` is a Hub with version 1, of each transport that works on this machine.
    """

    archive: TinyArchive
    first: Publication
    plan: Publication
    folder: Path
    before: dict[Transport, LoopbackHub]
    hubs: Iterator[int] = field(default_factory=itertools.count)


def make_world(folder: Path, *transports: Transport) -> World:
    """Version 1 has one shard of each config where version 2 has two, of other images; of `transports`, or all."""
    archive, old = make_archive(folder / "made"), make_archive(folder / "old", seed=1, shards=1)
    world = World(archive, plan_publication(old.folder, REPO, "1.0.0"), plan_release(archive), folder, {})
    for transport in transports or ("lfs", "xet"):
        if transport == "lfs" or XetStore(folder / "probe").works():
            with fresh_hub(world, transport) as (hub, waits):
                publish(world.first, sleep=waits.append)
            world.before[transport] = hub
    return world


def plan_release(archive: TinyArchive) -> Publication:
    return plan_publication(
        archive.folder, REPO, VERSION, model_repo=MODEL_REPO, weights=archive.weights, model_card="# Weights"
    )


@contextlib.contextmanager
def fresh_hub(
    world: World, transport: Transport, *, patience_s: float = 20.0
) -> Iterator[tuple[LoopbackHub, list[float]]]:
    """A Hub with version 1 that this process's client talks to; and what it waited, instead of waiting."""
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
        if transport in world.before:
            hub.copy_from(world.before[transport])
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


def check_released(hub: LoopbackHub, world: World) -> None:
    """One commit and one tag of the release in each repository, holding what was planned; version 1 as it was."""
    for content in world.plan.contents:
        repository = repository_of(hub, content)
        assert repository is not None, f"{content.repo} was not made"
        wanted = {TAG: content} | ({FIRST_TAG: world.first.dataset} if content.kind == "dataset" else {})
        assert repository.history == [*(f"Publish {tag}" for tag in wanted), INITIAL], repository.history
        assert repository.tags.keys() == wanted.keys(), repository.tags
        assert repository.tags[TAG] == repository.branches["main"], "main is not at the release"
        for tag, held in wanted.items():
            assert holds(repository, repository.tags[tag], held), f"{tag} is not what was published"
    card = hub.dataset(REPO).head.files["README.md"].content.decode()
    assert hub.model(MODEL_REPO).tags[TAG] in card, "the card names another commit of the weights"


def check_never_half(hub: LoopbackHub, world: World) -> None:
    """Every commit there is, is the Hub's first or a release whole; a tag is on the release it names."""
    for content in world.plan.contents:
        wanted = {TAG: content} | ({FIRST_TAG: world.first.dataset} if content.kind == "dataset" else {})
        repository = repository_of(hub, content)
        if repository is None:
            continue
        for commit, found in repository.commits.items():
            whole = any(holds(repository, commit, held) for held in wanted.values())
            assert whole or found.title == INITIAL, f"a commit of {content.repo} is half a release"
        for tag, commit in repository.tags.items():
            assert holds(repository, commit, wanted[tag]), f"{tag} of {content.repo} is not on what it names"


def repository_of(hub: LoopbackHub, content: RepoContent) -> Repository | None:
    return hub.repositories.get((f"{content.kind}s", content.repo))


def holds(repository: Repository, commit: str, content: RepoContent) -> bool:
    """Whether a commit holds the content and nothing else but what the Hub put there.

    Every file is the archive's byte for byte, but for texts that publishing fills in: those SHA256SUMS vouches for.
    """
    files = {path: file for path, file in repository.commits[commit].files.items() if path != ".gitattributes"}
    found = {path: hashlib.sha256(file.content).hexdigest() for path, file in files.items()}
    ours = {item.path: item.sha256 for item in content.uploads}
    if found.keys() != ours.keys() or any(found[path] != ours[path] for path in ours.keys() - ADDRESSED):
        return False
    sums = files["SHA256SUMS"].content.decode().splitlines() if "SHA256SUMS" in files else []
    return all(found.get(path) == digest for digest, path in (line.split("  ", 1) for line in sums))


def check_canary(folder: Path) -> None:
    """No file below `folder` holds a token."""
    for path in folder.rglob("*"):
        assert not path.is_file() or CANARY.encode() not in path.read_bytes(), f"{path.name} holds a token"
