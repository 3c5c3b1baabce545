"""Carry out a `Publication`: look, upload, one commit, verify, tag. Every step may be repeated; a rerun does the rest.

In: a checked plan. Out: a `Receipt`, written beside the manifest as ``publish-receipt.json`` too (never uploaded).

    died where                      the next run finds
    while uploading                 uploaded shards already there; nothing was visible
    commit sent, reply lost         main holds our content already: that commit is taken
    committed, not tagged           the same, and tags it
    tagged                          the tag holds our content: already published

A tag is made only on a commit whose checksums, as the Hub reports them, equal ours; an existing tag is never moved.
The weights come first, so that their commit can be named in the dataset's card.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from xrarchive.archive.manifest import RECEIPT_NAME
from xrarchive.errors import PlanChangedError, RemoteError, StorageError
from xrarchive.files import write_json
from xrarchive.hub.addressing import WeightsLink
from xrarchive.hub.client import MAX_TRIES, HubClient, open_hub
from xrarchive.hub.content import RepoContent, Upload
from xrarchive.hub.faults import ConflictError, TransientError
from xrarchive.hub.plan import Publication
from xrarchive.hub.preflight import Preflight, compare, look, require_same, tag_message
from xrarchive.records import OnStatus, Status, ignore_status

if TYPE_CHECKING:
    from huggingface_hub import CommitOperationAdd

MAX_MOVES = 3  # how often others may push in between before we stop
# Files go up in few blocks, each of two calls and many connections; between blocks we can tell how far it is.
_BLOCK_BYTES = 1 << 30
_MAX_BLOCKS = 8

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Receipt:
    """Where a version can be found.

    `model` is the receipt of the model repository, if weights were published; `withheld` names the gates that kept them
    back; `access` says who gets in, and who permitted that.
    """

    endpoint: str
    repo: str
    version: str
    tag: str
    commit: str
    manifest_sha256: str
    already_published: bool
    model: Receipt | None = None
    withheld: tuple[str, ...] = ()
    access: Mapping[str, object] | None = None

    @property
    def load_line(self) -> str:
        """The line of Python that loads exactly this version."""
        return f'load_dataset("{self.repo}", revision="{self.tag}")'

    def as_dict(self) -> dict[str, object]:
        """The machine-readable form, as written to ``publish-receipt.json``."""
        return {
            "endpoint": self.endpoint,
            "repo": self.repo,
            "version": self.version,
            "tag": self.tag,
            "commit": self.commit,
            "manifest_sha256": self.manifest_sha256,
            "already_published": self.already_published,
            "model": None if self.model is None else self.model.as_dict(),
            "withheld": list(self.withheld),
            "access": self.access,
        }


def publish(
    publication: Publication,
    *,
    token: str | None = None,
    confirm: Callable[[Publication], bool] = lambda _plan: True,
    on_status: OnStatus = ignore_status,
    sleep: Callable[[float], None] = time.sleep,
) -> Receipt | None:
    """Publish a version to the Hub named by ``HF_ENDPOINT``, or find that it is published already.

    Args:
        publication: From `plan_publication`.
        token: With write access; None takes ``HF_TOKEN`` or the one stored by ``hf auth login``.
        confirm: Asked before anything is sent, with the plan as the Hub's state makes it: its version is settled.
        on_status: Told about uploads, in bytes, repository by repository.
        sleep: Called with seconds between tries.

    Returns:
        The receipt, None if `confirm` said no.

    Raises:
        AccessError: If the token is missing or refused, or may not write there.
        SettingsError: If the version is lower than the change since the last one demands.
        GateError: If the repository lets in others than the plan allows.
        PlanChangedError: If the version exists with other content. Nothing was changed.
        RemoteError: If the Hub did not answer as it should; the same call may be repeated.
        DamageError: If a shard changed since the plan was made. Nothing was published.
    """
    with open_hub(token=token, sleep=sleep) as hub:
        found = look(hub, publication)
        if not confirm(found.publication):
            return None
        receipts: dict[str, Receipt] = {}
        for content in found.publication.contents:
            made = receipts.get("model")
            weights = WeightsLink(made.repo, made.tag, made.commit) if made else None
            receipts[content.kind] = _publish_repo(hub, found, content, weights, on_status)
    plan = found.publication
    receipt = replace(
        receipts["dataset"], model=receipts.get("model"), withheld=plan.withheld, access=plan.access.as_dict()
    )
    write_receipt(plan, receipt)
    return receipt


def write_receipt(publication: Publication, receipt: Receipt) -> None:
    """Keep the receipt with the archive. What is published stays so if the disk refuses."""
    try:
        write_json(publication.archive_dir / RECEIPT_NAME, receipt.as_dict())
    except StorageError as err:
        _log.warning("Published, but the receipt could not be written: %s", err.message)


def _publish_repo(
    hub: HubClient, found: Preflight, content: RepoContent, weights: WeightsLink | None, on_status: OnStatus
) -> Receipt:
    publication, state = found.publication, found.states[content.kind]
    tagged = state is not None and publication.tag in state.tags
    if tagged:
        commit = require_same(hub, found, content, weights)
    else:
        state = state or hub.create(content, publication.access)
        if publication.access.gated and state.gated != publication.access.gated:
            hub.gate(content, publication.access.gated)
        commit, ready = _commit_content(hub, found, content, weights, state.head, on_status)
        _verify(hub, ready, commit)
        _tag(hub, ready, publication, commit)
    return Receipt(
        endpoint=hub.endpoint,
        repo=content.repo,
        version=publication.version,
        tag=publication.tag,
        commit=commit,
        manifest_sha256=publication.manifest_sha256,
        already_published=tagged,
    )


def _commit_content(
    hub: HubClient,
    found: Preflight,
    content: RepoContent,
    weights: WeightsLink | None,
    head: str,
    on_status: OnStatus,
) -> tuple[str, RepoContent]:
    """A commit on main that holds our content, and that content: the head if it does so already, else a new one.

    Each round starts from the head as it is. A commit whose reply was lost is therefore found, not made twice.
    """
    moves = faults = 0
    publication = found.publication
    while True:
        files = hub.tree(content, head)
        ready = found.addressed(hub, content, weights, head, files)
        difference = compare(ready, files)
        if not difference:
            return head, ready
        additions = list(_upload(hub, content, difference.wanting, on_status))
        try:
            commit = hub.commit(
                content,
                additions,
                difference.left_over,
                parent=head,
                title=f"Publish {publication.tag}",
                description=f"By xrarchive, from the archive with manifest sha256 {publication.manifest_sha256}.",
            )
            return commit, ready
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
    for item in items:
        block.append(item)
        if sum(one.bytes for one in block) >= size:
            yield block
            block = []
    if block:
        yield block


def _kept_moving(hub: HubClient, content: RepoContent, moves: int) -> RemoteError:
    return RemoteError(
        f"Others keep pushing to {content.repo}: main moved {moves} times, last to "
        f"{hub.commit_of(content, None)[:12]}.",
        fix="Wait until they are done, then run the same command again.",
    )


def _verify(hub: HubClient, content: RepoContent, commit: str) -> None:
    """Compare the checksums the Hub reports at `commit` with ours, before a tag makes it a version."""
    if difference := compare(content, hub.tree(content, commit)):
        raise RemoteError(
            f"{hub.endpoint} holds other bytes in {content.repo} at {commit[:12]} than were sent: {difference}. "
            "No tag was made.",
            fix="Run the same command again; if it fails again, look at the repository's .gitignore and its history.",
        )


def _tag(hub: HubClient, content: RepoContent, publication: Publication, commit: str) -> None:
    """Tag `commit` and read the tag back: a tag that exists elsewhere is never taken for ours."""
    tag = publication.tag
    hub.create_tag(content, tag, commit, tag_message(publication))
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
