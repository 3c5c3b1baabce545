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
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from xrarchive.archive.manifest import RECEIPT_NAME
from xrarchive.errors import StorageError
from xrarchive.files import write_json
from xrarchive.hub.addressing import WeightsLink
from xrarchive.hub.client import HubClient, open_hub
from xrarchive.hub.committing import commit_content, tag_commit, verify
from xrarchive.hub.content import RepoContent
from xrarchive.hub.plan import Publication
from xrarchive.hub.preflight import Preflight, look, require_same, tag_message
from xrarchive.records import OnStatus, ignore_status

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Receipt:
    """Where a version can be found.

    `model` is the receipt of the model repository, if weights were published; `withheld` names the gates that kept them
    back; `access` says who gets in, and who permitted that. `folder` is where the version lies if it was published into
    a folder, which has no commits.
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
    folder: str = ""

    @property
    def load_line(self) -> str:
        """The line of Python that loads exactly this version."""
        if self.folder:
            return f'load_dataset("{self.folder}")'
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
            "folder": self.folder,
            "load": self.load_line,
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
        commit, ready = commit_content(
            hub,
            content,
            lambda head, files: found.addressed(hub, content, weights, head, files),
            head=state.head,
            title=f"Publish {publication.tag}",
            description=f"By xrarchive, from the archive with manifest sha256 {publication.manifest_sha256}.",
            on_status=on_status,
        )
        verify(hub, ready, commit)
        tag_commit(hub, ready, publication.tag, commit, tag_message(publication))
    return Receipt(
        endpoint=hub.endpoint,
        repo=content.repo,
        version=publication.version,
        tag=publication.tag,
        commit=commit,
        manifest_sha256=publication.manifest_sha256,
        already_published=tagged,
    )
