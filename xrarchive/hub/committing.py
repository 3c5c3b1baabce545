"""One commit on main that holds a content, its checksums verified, and a tag on it. Every step may be repeated.

In: what a repository is to hold, given what it holds. Out: the commit. What was there already is found, not made twice;
somebody else's push in between is looked at, not overwritten.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from xrarchive.errors import PlanChangedError, RemoteError
from xrarchive.hub.client import MAX_TRIES, HubClient, RemoteFile
from xrarchive.hub.content import RepoContent, Upload
from xrarchive.hub.faults import ConflictError, TransientError
from xrarchive.hub.preflight import compare
from xrarchive.records import OnStatus, Status, ignore_status

if TYPE_CHECKING:
    from huggingface_hub import CommitOperationAdd

MAX_MOVES = 3  # how often others may push in between before we stop
# Files go up in few blocks, each of two calls and many connections; between blocks we can tell how far it is.
_BLOCK_BYTES = 1 << 30
_MAX_BLOCKS = 8


def commit_content(
    hub: HubClient,
    content: RepoContent,
    make: Callable[[str, Mapping[str, RemoteFile]], RepoContent],
    *,
    head: str,
    title: str,
    description: str,
    on_status: OnStatus = ignore_status,
) -> tuple[str, RepoContent]:
    """A commit on main that holds what `make` gives, and that content: the head if it does so already, else a new one.

    Each round starts from the head as it is. A commit whose reply was lost is therefore found, not made twice.

    Args:
        hub: The Hub.
        content: Names the repository.
        make: The content, given the head and the files it holds.
        head: Commit main stands at.
        title: Of a new commit.
        description: Of a new commit.
        on_status: Told about uploads, in bytes.

    Raises:
        RemoteError: If others kept pushing, or no proper reply came in `MAX_TRIES` tries.
    """
    moves = faults = 0
    while True:
        files = hub.tree(content, head)
        ready = make(head, files)
        difference = compare(ready, files)
        if not difference:
            return head, ready
        additions = list(_upload(hub, ready, difference.wanting, on_status))
        try:
            removals = difference.left_over
            made = hub.commit(ready, additions, removals, parent=head, title=title, description=description)
            return made, ready
        except ConflictError as err:
            moves += 1
            if moves > MAX_MOVES:
                raise _kept_moving(hub, content, moves) from err
        except TransientError as fault:
            faults += 1
            if faults >= MAX_TRIES:
                raise
            hub.wait(fault, faults)
        head = hub.commit_of(content, None)


def _upload(
    hub: HubClient, content: RepoContent, items: Sequence[Upload], on_status: OnStatus
) -> Iterator[CommitOperationAdd]:
    """Send files ahead of their commit, block by block, telling how far it is."""
    done, total = 0, sum(item.bytes for item in items)
    for block in _blocks(items, max(_BLOCK_BYTES, total // _MAX_BLOCKS)):
        on_status(Status(done, total, "bytes", f"uploading {len(block)} files to {content.repo}"))
        yield from hub.upload(content, block)
        done += sum(item.bytes for item in block)
    on_status(Status(done, total, "bytes", f"committing to {content.repo}"))


def _blocks(items: Sequence[Upload], size: int) -> Iterator[list[Upload]]:
    """The files in order, in blocks that end with the first file that makes them `size` bytes or more."""
    block: list[Upload] = []
    held = 0
    for item in items:
        block.append(item)
        held += item.bytes
        if held >= size:
            yield block
            block, held = [], 0
    if block:
        yield block


def _kept_moving(hub: HubClient, content: RepoContent, moves: int) -> RemoteError:
    return RemoteError(
        f"Others keep pushing to {content.repo}: main moved {moves} times, last to "
        f"{hub.commit_of(content, None)[:12]}.",
        fix="Wait until they are done, then run the same command again.",
    )


def verify(hub: HubClient, content: RepoContent, commit: str) -> None:
    """Compare the checksums the Hub reports at `commit` with ours, before a tag makes it a version."""
    if difference := compare(content, hub.tree(content, commit)):
        raise RemoteError(
            f"{hub.endpoint} holds other bytes in {content.repo} at {commit[:12]} than were sent: {difference}. "
            "No tag was made.",
            fix="Run the same command again; if it fails again, look at the repository's .gitignore and its history.",
        )


def tag_commit(hub: HubClient, content: RepoContent, tag: str, commit: str, message: str) -> None:
    """Tag `commit` and read the tag back: a tag that exists elsewhere is never taken for ours."""
    hub.create_tag(content, tag, commit, message)
    found = hub.tagged_commit(content, tag)
    if found is None:
        raise RemoteError(
            f"{hub.endpoint} accepted the tag {tag} of {content.repo} and does not show it.",
            fix="Run the same command again.",
        )
    if found != commit:
        raise PlanChangedError(
            f"Somebody else tagged {tag} in {content.repo} meanwhile: it names {found[:12]}, ours is {commit[:12]}.",
            fix="Publish under a higher --version.",
        )
