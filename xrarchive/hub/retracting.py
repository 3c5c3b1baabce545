"""Take a published version back: say so wherever it is looked for, since nothing can make it unpublished.

In: a repository, a version, a reason. Out: a `RetractionReceipt`. On a Hub: a notice on main's card and changelog,
``retractions.json`` (from which later versions carry the notice on), and a tag ``vX.Y.Z-retracted`` whose message is
the reason. In a folder: the index. The version itself stays as it is: a tag that moved or went would break whoever
pinned it, and would undo nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from xrarchive.archive.manifest import CHANGELOG_NAME, README_NAME, RETRACTIONS_NAME, SUMS_NAME
from xrarchive.errors import InputDataError
from xrarchive.files import locked
from xrarchive.hub.addressing import Retraction, dump_retractions, mark_retracted
from xrarchive.hub.client import HubClient, RemoteFile, RemoteState, open_hub
from xrarchive.hub.committing import commit_content, tag_commit, verify
from xrarchive.hub.content import RepoContent, in_memory
from xrarchive.hub.preflight import read_retractions, require_right
from xrarchive.hub.shelf import place_of, read_index, write_index
from xrarchive.hub.versions import VERSION, list_versions

_MARKED = (README_NAME, CHANGELOG_NAME, SUMS_NAME)
CANNOT_UNDO = (
    "The version itself stays: its tag, its commit, every copy and every cache keep it, and whoever asks for it by "
    "name or commit gets it. Only deleting the repository takes it off this Hub, and no copy off anybody's disk."
)
_STAYS_IN_FOLDER = (
    "The version's folder stays as it is, and so does every copy; only the index and later versions say so."
)


@dataclass(frozen=True)
class RetractionReceipt:
    """Where a notice can be found. `commit` and `notice_tag` are "" in a folder, which has none."""

    where: str
    repo: str
    tag: str
    reason: str
    date: str
    commit: str
    notice_tag: str
    already_retracted: bool
    stays: str = CANNOT_UNDO

    def as_dict(self) -> dict[str, object]:
        """The machine-readable form."""
        return asdict(self)


def retract(
    repo: str,
    version: str,
    *,
    reason: str,
    date: str,
    token: str | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> RetractionReceipt:
    """Mark a version of a dataset on the Hub named by ``HF_ENDPOINT`` as taken back. May be repeated.

    Args:
        repo: ``owner/name``.
        version: ``vX.Y.Z`` or ``X.Y.Z``.
        reason: Shown in card, changelog and tag.
        date: ``YYYY-MM-DD``.
        token: As for `publishing.publish`.
        sleep: Called with seconds between tries.

    Raises:
        InputDataError: If there is no such version, or the reason is empty.
        AccessError, RemoteError: As for `publishing.publish`.
    """
    tag, item = _wanted(version, reason, date)
    content = RepoContent(repo, "dataset", (), ())
    with open_hub(token=token, sleep=sleep) as hub:
        require_right(hub.account(), content, hub.endpoint)
        state = _require_version(hub, content, tag)
        notice_tag = f"{tag}-retracted"
        already = notice_tag in state.tags
        commit = hub.commit_of(content, notice_tag) if already else _retract(hub, content, tag, item, state.head)
        return RetractionReceipt(hub.endpoint, repo, tag, item.reason, item.date, commit, notice_tag, already)


def retract_in_folder(root: Path, repo: str, version: str, *, reason: str, date: str) -> RetractionReceipt:
    """Mark a version in a folder that `publish_to_folder` filled as taken back. May be repeated.

    Raises:
        InputDataError: If there is no such version, or the reason is empty.
        LockedError, StorageError: If another process publishes there, or the disk refuses.
    """
    tag, item = _wanted(version, reason, date)
    content = RepoContent(repo, "dataset", (), ())
    place = place_of(root, content)
    if not place.is_dir():
        raise InputDataError(f"{root} holds no {repo}.", fix="Check the folder and the name.", path=place)
    with locked(place):
        index = read_index(place)
        if tag not in index:
            raise _no_such_version(f"{place}", tag, list_versions(index))
        already = index[tag]["retracted"] is not None
        if not already:
            write_index(place, content, {**index, tag: {**index[tag], "retracted": asdict(item)}})
    return RetractionReceipt(str(root), repo, tag, item.reason, item.date, "", "", already, _STAYS_IN_FOLDER)


def _wanted(version: str, reason: str, date: str) -> tuple[str, Retraction]:
    number = version.removeprefix("v")
    if not VERSION.fullmatch(number):
        raise InputDataError(f"{version!r} is no version.", fix="Give for example --retract v1.0.0.")
    if not reason.strip():
        raise InputDataError(
            "A version is retracted for a reason.", fix='Say why, for all who used it: --reason "TEXT".'
        )
    return f"v{number}", Retraction(" ".join(reason.split()), date)


def _require_version(hub: HubClient, content: RepoContent, tag: str) -> RemoteState:
    state = hub.look(content)
    if state is None or tag not in state.tags:
        raise _no_such_version(f"{content.repo} at {hub.endpoint}", tag, list_versions(state.tags if state else ()))
    return state


def _no_such_version(where: str, tag: str, versions: tuple[str, ...]) -> InputDataError:
    there = f", only {', '.join(f'v{version}' for version in versions)}" if versions else ""
    return InputDataError(f"{where} has no version {tag}{there}.", fix="Give one of its versions.")


def _retract(hub: HubClient, content: RepoContent, tag: str, item: Retraction, head: str) -> str:
    def make(head: str, files: Mapping[str, RemoteFile]) -> RepoContent:
        return _marked(hub, content, tag, item, head, files)

    commit, ready = commit_content(hub, content, make, head=head, title=f"Retract {tag}", description=item.reason)
    verify(hub, ready, commit)
    tag_commit(hub, ready, f"{tag}-retracted", commit, f"{tag} is retracted ({item.date}): {item.reason}")
    return commit


def _marked(
    hub: HubClient, content: RepoContent, tag: str, item: Retraction, head: str, files: Mapping[str, RemoteFile]
) -> RepoContent:
    """Main's texts with the notice, and the list of what was taken back."""
    known = read_retractions(hub, content, head) if RETRACTIONS_NAME in files else {}
    retracted = {tag: item, **known}
    texts = [in_memory(name, hub.download(content, name, head).read_bytes()) for name in _MARKED if name in files]
    listed = in_memory(RETRACTIONS_NAME, dump_retractions(retracted))
    marked = mark_retracted(RepoContent(content.repo, content.kind, tuple(texts), ()), retracted)
    return RepoContent(content.repo, content.kind, (*marked.uploads, listed), ())
