"""What a Hub says to a plan before anything is sent: who we are, what is there, which version it may be.

In: a checked plan and a Hub. Out: a `Preflight`: the plan with its version settled, and the repositories as they stand.
Only reads. What is refused here was not begun.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace

from xrarchive.archive.manifest import CHANGELOG_NAME, MANIFEST_NAME, RETRACTIONS_NAME, Manifest, read_manifest
from xrarchive.archive.source import Source, open_folder
from xrarchive.errors import AccessError, DamageError, GateError, InputDataError, PlanChangedError, RemoteError
from xrarchive.hub.access import Access, gate_prompt
from xrarchive.hub.addressing import Retraction, WeightsLink, address, load_retractions
from xrarchive.hub.client import MAX_TRIES, Account, HubClient, RemoteFile, RemoteState, has_token, open_hub
from xrarchive.hub.content import Kind, RepoContent, Upload
from xrarchive.hub.plan import Publication
from xrarchive.hub.versions import Standing, change_between, describe_difference, fitting_version, list_versions

_MAX_MESSAGE_CHARS = 4000


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


@dataclass(frozen=True)
class Preflight:
    """A plan, settled, and the repositories it goes to.

    Attributes:
        publication: With the version it will have.
        states: The repository of each kind; None = it is to be made.
    """

    publication: Publication
    states: Mapping[Kind, RemoteState | None]

    def addressed(
        self, hub: HubClient, content: RepoContent, weights: WeightsLink | None, base: str, files: Collection[str]
    ) -> RepoContent:
        """A repository's content with what only publishing knows put in, for the commit after `base`, or for `base`.

        Args:
            hub: To read the list of retracted versions from.
            content: As the archive has it.
            weights: Where they are published.
            base: A commit of the repository.
            files: What it holds.
        """
        plan = self.publication
        prompt = gate_prompt(plan.manifest.terms) if plan.access.gated else ""
        retracted = read_retractions(hub, content, base) if RETRACTIONS_NAME in files else {}
        return address(content, plan.tag, weights=weights, prompt=prompt, retracted=retracted)


def preflight(
    publication: Publication,
    *,
    token: str | None = None,
    sleep: Callable[[float], None] = time.sleep,
    tries: int = MAX_TRIES,
) -> Publication:
    """The plan as it would be carried out now: its version settled, and notes on what is there. Sends nothing.

    Raises:
        AccessError, SettingsError, GateError, PlanChangedError, RemoteError: As `publishing.publish`.
    """
    with open_hub(token=token, sleep=sleep, tries=tries) as hub:
        return look(hub, publication).publication


def preflight_if_known(publication: Publication) -> Publication:
    """`preflight` where there is a token and a Hub that answers; else the plan with a note that it was not asked."""
    try:
        return preflight(publication, tries=1)
    except AccessError as err:
        if has_token():
            raise
        said = err.message
    except RemoteError as err:
        said = err.message
    return replace(publication, notes=(*publication.notes, f"The Hub was not asked what is there. {said}"))


def look(hub: HubClient, publication: Publication) -> Preflight:
    """Ask what must be known before the first byte is sent."""
    account = hub.account()
    for content in publication.contents:
        require_right(account, content, hub.endpoint)
    states = {content.kind: hub.look(content) for content in publication.contents}
    for content in publication.contents:
        _require_closed(content, states[content.kind], publication.access)
    found = Preflight(publication, states)
    standing = _standing(hub, found)
    version = fitting_version(publication.asked_version, publication.manifest, standing)
    notes = (*publication.notes, *_notes(found, standing, account))
    found = replace(found, publication=replace(publication, version=version, notes=notes))
    _require_free(hub, found)
    return found


def compare(content: RepoContent, files: Mapping[str, RemoteFile]) -> Difference:
    """What must be added to and removed from a repository holding `files`; equality needs no download."""
    wanting = [item for item in content.uploads if item.path not in files or not files[item.path].holds(item)]
    ours = {item.path for item in content.uploads}
    left_over = sorted(path for path in files if content.claims_path(path) and path not in ours)
    return Difference(tuple(wanting), tuple(left_over))


def require_same(hub: HubClient, found: Preflight, content: RepoContent, weights: WeightsLink | None) -> str:
    """The commit the version's tag names, which must hold our content.

    Raises:
        PlanChangedError: If it holds other content, saying which images differ.
    """
    plan, tag = found.publication, found.publication.tag
    commit, difference = _difference(hub, found, content, weights)
    if not difference:
        return commit
    images = _differing_images(hub, content, commit, plan) if content.kind == "dataset" else ""
    raise PlanChangedError(
        f"{tag} of the {content.kind} {content.repo} exists already with other content: {difference} differ"
        f"{f'; {images}' if images else ''}. A published version never changes.",
        fix="Publish under a higher --version, or leave it out: the next fitting one is taken.",
    )


def _difference(
    hub: HubClient, found: Preflight, content: RepoContent, weights: WeightsLink | None
) -> tuple[str, Difference]:
    """The commit the version's tag names, and how it differs from our content."""
    commit = hub.commit_of(content, found.publication.tag)
    files = hub.tree(content, commit)
    return commit, compare(found.addressed(hub, content, weights, commit, files), files)


def tag_message(publication: Publication) -> str:
    """What the changelog says of the version, or what happened to the archive; who permitted the release; the hash."""
    from xrarchive.archive.changelog import change_line, find_entry  # brings pyarrow

    plan = publication
    changelog = plan.dataset.texts.get(CHANGELOG_NAME, b"").decode(errors="replace")
    said = find_entry(changelog, plan.version) or "\n".join(f"- {change_line(step)}" for step in plan.manifest.history)
    permission = f"\n\nPermission: {plan.access.permission}" if plan.access.permission else ""
    return f"{said[:_MAX_MESSAGE_CHARS]}\n\nManifest sha256 {plan.manifest_sha256}.{permission}"


def require_right(account: Account, content: RepoContent, endpoint: str) -> None:
    """Refuse a token that may not write to a repository, as far as the Hub tells.

    Raises:
        AccessError: If it may only read, or not under that owner.
    """
    owner = content.repo.partition("/")[0]
    if account.reads_only:
        raise AccessError(
            f"The token of {account.name} for {endpoint} may read only.",
            fix="Log in with `hf auth login` (or set HF_TOKEN) using a token with write access.",
        )
    if owner not in account.writes_to:
        raise AccessError(
            f"{account.name} may not publish under {owner!r} at {endpoint}, but under: "
            f"{', '.join(sorted(account.writes_to))}.",
            fix="Give another repository, or ask the organisation for a role that may write.",
        )


def _require_closed(content: RepoContent, state: RemoteState | None, access: Access) -> None:
    """Refuse to publish into a repository that is open to more persons than the plan lets in."""
    if state is not None and access.private and not state.private:
        raise GateError(
            f"The {content.kind} repository {content.repo} is there and not private.",
            fix="Make it private in its settings on the Hub, give another repository, or leave --private out.",
        )


def _standing(hub: HubClient, found: Preflight) -> Standing:
    content, state = found.publication.dataset, found.states["dataset"]

    @functools.cache
    def manifest(version: str) -> Manifest | None:
        return _published_manifest(hub, content, f"v{version}")

    def differs(version: str) -> str:
        settled = replace(found, publication=replace(found.publication, version=version))
        for one in settled.publication.contents:
            if not _is_tagged(settled, one):
                return f"the {one.kind} repository lacks {settled.publication.tag}"
            weights = _weights_link(hub, settled) if one.kind == "dataset" else None
            if difference := _difference(hub, settled, one, weights)[1]:
                return str(difference)
        return ""

    return Standing(list_versions(state.tags if state else ()), manifest, differs)


def _is_tagged(found: Preflight, content: RepoContent) -> bool:
    state = found.states[content.kind]
    return state is not None and found.publication.tag in state.tags


def _weights_link(hub: HubClient, found: Preflight) -> WeightsLink | None:
    """Where the weights of the version are, if they are published; None if they are not to be."""
    plan = found.publication
    if plan.model is None:
        return None
    commit = hub.commit_of(plan.model, plan.tag) if _is_tagged(found, plan.model) else ""
    return WeightsLink(plan.model.repo, plan.tag, commit)


def _require_free(hub: HubClient, found: Preflight) -> None:
    """Refuse before anything is touched if the dataset's version exists with other content."""
    if _is_tagged(found, found.publication.dataset):
        require_same(hub, found, found.publication.dataset, _weights_link(hub, found))


def _published_manifest(hub: HubClient, content: RepoContent, revision: str) -> Manifest | None:
    """None where there is none that we can read."""
    from huggingface_hub.errors import EntryNotFoundError

    try:
        return read_manifest(hub.download(content, MANIFEST_NAME, revision).parent)
    except (InputDataError, DamageError):
        return None
    except RemoteError as err:
        if isinstance(err.__cause__, EntryNotFoundError):
            return None
        raise


def _differing_images(hub: HubClient, content: RepoContent, commit: str, publication: Publication) -> str:
    old = _published_manifest(hub, content, commit)
    if old is None:
        return ""
    source = Source(f"{content.repo}@{publication.tag}", old, lambda path: hub.download(content, path, commit))
    return describe_difference(source, open_folder(publication.archive_dir))


def read_retractions(hub: HubClient, content: RepoContent, commit: str) -> Mapping[str, Retraction]:
    """Versions taken back, by tag, from a repository that has the list."""
    path = hub.download(content, RETRACTIONS_NAME, commit)
    return load_retractions(path)


def _notes(found: Preflight, standing: Standing, account: Account) -> tuple[str, ...]:
    access = found.publication.access
    lines = [f"Published by {account.name}."]
    for content in found.publication.contents:
        state = found.states[content.kind]
        if state is None:
            lines.append(f"The {content.kind} repository {content.repo} is new: {access.words}.")
        elif access.gated and state.gated != access.gated:
            lines.append(f"The {content.kind} repository {content.repo} becomes {access.words}.")
    if standing.versions:
        newest = standing.versions[-1]
        old = standing.manifest(newest)
        lines.append(
            f"Published is {newest}" + (f": {change_between(old, found.publication.manifest)[1]}." if old else ".")
        )
    return tuple(lines)
