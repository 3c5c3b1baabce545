"""Carry out a `Publication`: upload, one commit, verify, tag. Every step may be repeated; a rerun does the rest.

In: a checked plan. Out: a `Receipt`, written beside the manifest as ``publish-receipt.json`` too (never uploaded).

    died where                      the next run finds
    while uploading                 uploaded shards already there; nothing was visible
    commit sent, reply lost         main holds our content already: that commit is taken
    committed, not tagged           the same, and tags it
    tagged                          the tag holds our content: already published

A tag is made only on a commit whose checksums, as the Hub reports them, equal ours; an existing tag is never moved.
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
from xrarchive.hub.client import MAX_TRIES, ConflictError, HubClient, RemoteFile, TransientError, open_hub
from xrarchive.hub.plan import Publication, RepoContent, Upload
from xrarchive.records import OnStatus, Status, ignore_status

if TYPE_CHECKING:
    from huggingface_hub import CommitOperationAdd

MAX_MOVES = 3  # how often others may push in between before we stop

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Receipt:
    """Where a version can be found.

    `model` is the receipt of the model repository, if weights were published; `withheld` names the gates that kept them
    back.
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
        }


@dataclass(frozen=True)
class Difference:
    """How a repository's files at one commit differ from what it is to hold."""

    wanting: tuple[Upload, ...]
    left_over: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.wanting or self.left_over)

    def __str__(self) -> str:
        paths = [*(item.path for item in self.wanting), *self.left_over]
        return ", ".join(paths[:3]) + (f" and {len(paths) - 3} more" if len(paths) > 3 else "")


def publish(
    publication: Publication,
    *,
    token: str | None = None,
    on_status: OnStatus = ignore_status,
    sleep: Callable[[float], None] = time.sleep,
) -> Receipt:
    """Publish a version to the Hub named by ``HF_ENDPOINT``, or find that it is published already.

    Args:
        publication: From `plan_publication`.
        token: With write access; None takes ``HF_TOKEN`` or the one stored by ``hf auth login``.
        on_status: Told about uploads, in bytes, repository by repository.
        sleep: Called with seconds between tries.

    Raises:
        AccessError: If the token is missing or refused.
        PlanChangedError: If the version exists with other content. Nothing was changed.
        RemoteError: If the Hub did not answer as it should; the same call may be repeated.
        DamageError: If a shard changed since the plan was made. Nothing was published.
    """
    with open_hub(token=token, sleep=sleep) as hub:
        hub.user()
        for content in publication.contents:
            hub.create(content)
        tagged = [_commit_of_tag(hub, content, publication.tag) for content in publication.contents]
        receipts = {
            content.kind: _publish_repo(hub, content, publication, tagged=commit, on_status=on_status)
            for content, commit in zip(publication.contents, tagged, strict=True)
        }
    receipt = replace(receipts["dataset"], model=receipts.get("model"), withheld=publication.withheld)
    _write_receipt(publication, receipt)
    return receipt


def compare(content: RepoContent, files: Mapping[str, RemoteFile]) -> Difference:
    """What must be added to and removed from a repository holding `files`; equality needs no download."""
    wanting = [item for item in content.uploads if item.path not in files or not files[item.path].holds(item)]
    ours = {item.path for item in content.uploads}
    left_over = sorted(path for path in files if content.claims_path(path) and path not in ours)
    return Difference(tuple(wanting), tuple(left_over))


def _commit_of_tag(hub: HubClient, content: RepoContent, tag: str) -> str | None:
    """The commit `tag` names if it holds our content, None if there is no such tag."""
    commit = hub.tagged_commit(content, tag)
    if commit is not None and (difference := compare(content, hub.tree(content, commit))):
        raise PlanChangedError(
            f"{tag} of the {content.kind} {content.repo} exists already with other content: {difference} differ. "
            "A published version never changes.",
            fix="Publish under a higher --version.",
        )
    return commit


def _publish_repo(
    hub: HubClient, content: RepoContent, publication: Publication, *, tagged: str | None, on_status: OnStatus
) -> Receipt:
    commit = tagged
    if commit is None:
        commit = _commit_content(hub, content, publication, on_status)
        _verify(hub, content, commit)
        _tag(hub, content, publication.tag, commit)
    return Receipt(
        endpoint=hub.endpoint,
        repo=content.repo,
        version=publication.version,
        tag=publication.tag,
        commit=commit,
        manifest_sha256=publication.manifest_sha256,
        already_published=tagged is not None,
    )


def _commit_content(hub: HubClient, content: RepoContent, publication: Publication, on_status: OnStatus) -> str:
    """A commit on main that holds our content: the head if it does so already, else a new one.

    Each round starts from the head as it is. A commit whose reply was lost is therefore found, not made twice.
    """
    moves = faults = 0
    while True:
        head = hub.head(content)
        difference = compare(content, hub.tree(content, head))
        if not difference:
            return head
        additions = list(_upload(hub, content, difference.wanting, on_status))
        try:
            return hub.commit(
                content,
                additions,
                difference.left_over,
                parent=head,
                title=f"Publish {publication.tag}",
                description=f"By xrarchive, from the archive with manifest sha256 {publication.manifest_sha256}.",
            )
        except ConflictError as err:
            moves += 1
            if moves > MAX_MOVES:
                raise _kept_moving(hub, content, moves) from err
        except TransientError as fault:
            faults += 1
            if faults >= MAX_TRIES:
                raise
            hub.wait(fault, faults)


def _upload(
    hub: HubClient, content: RepoContent, items: Sequence[Upload], on_status: OnStatus
) -> Iterator[CommitOperationAdd]:
    """Send files ahead of their commit, one by one, telling how far it is."""
    done, total = 0, sum(item.bytes for item in items)
    for item in items:
        on_status(Status(done, total, "bytes", f"uploading {item.path} to {content.repo}"))
        yield hub.upload(content, item)
        done += item.bytes
    on_status(Status(done, total, "bytes", f"committing to {content.repo}"))


def _kept_moving(hub: HubClient, content: RepoContent, moves: int) -> RemoteError:
    return RemoteError(
        f"Others keep pushing to {content.repo}: main moved {moves} times, last to {hub.head(content)[:12]}.",
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


def _tag(hub: HubClient, content: RepoContent, tag: str, commit: str) -> None:
    """Tag `commit` and read the tag back: a tag that exists elsewhere is never taken for ours."""
    hub.create_tag(content, tag, commit)
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


def _write_receipt(publication: Publication, receipt: Receipt) -> None:
    """Keep the receipt with the archive. What is published stays so if the disk refuses."""
    try:
        write_json(publication.archive_dir / RECEIPT_NAME, receipt.as_dict())
    except StorageError as err:
        _log.warning("Published, but the receipt could not be written: %s", err.message)
