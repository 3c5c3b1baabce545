"""One Hub, spoken to through huggingface_hub; faults come out told apart (`hub.faults`).

Every call returns or raises one of ours. A `TransientError` was tried `MAX_TRIES` times; nothing else is tried again.

*Why* our own retries: huggingface_hub 2.4 retries uploads, but not ``whoami``, ``create_repo``, ``create_commit`` or
``create_tag``, and waits without limit for a server that accepts and never answers.
"""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, cast

from xrarchive.errors import AccessError, DamageError, RemoteError
from xrarchive.hub.access import Access, Gating
from xrarchive.hub.content import RepoContent, Upload
from xrarchive.hub.faults import AGAIN, ConflictError, TransientError, translate

if TYPE_CHECKING:
    from huggingface_hub import CommitOperationAdd, DatasetInfo, ModelInfo

MAX_TRIES = 6
MAX_TOTAL_WAIT_S = 600.0  # in one release
MAX_WAIT_S = 300.0  # the Hub counts requests in windows of five minutes; waiting longer than one never helps
_FIRST_WAIT_S = 1.0
_UPLOAD_TRIES = 2  # the library tries five times itself, and waits as long as it is told
_CONNECT_TIMEOUT_S = 20.0
_READ_TIMEOUT_S = 120.0  # twice the time the Hub gives itself for a commit
_WRITING_ROLES = frozenset({"admin", "write", "contributor"})

T = TypeVar("T")
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RemoteFile:
    """What the Hub says it holds: `sha256` of the content for large files, None for files it keeps in git."""

    git_sha1: str
    sha256: str | None

    def holds(self, item: Upload) -> bool:
        """Whether this is the content of `item`."""
        return self.sha256 == item.sha256 if self.sha256 is not None else self.git_sha1 == item.git_sha1()


@dataclass(frozen=True)
class Account:
    """Whose token it is. `writes_to` are the owners under which it may make repositories, as far as the Hub says."""

    name: str
    reads_only: bool
    writes_to: frozenset[str]


@dataclass(frozen=True)
class RemoteState:
    """A repository as it stands: main's commit, who gets in, and the names of its tags."""

    head: str
    private: bool
    gated: Gating | None
    tags: frozenset[str]


class HubClient:
    """The few calls publishing and reading need. Get one from `open_hub`. The token "" is none."""

    def __init__(self, *, endpoint: str, token: str, sleep: Callable[[float], None], tries: int = MAX_TRIES) -> None:
        from huggingface_hub import HfApi

        self.endpoint = endpoint
        self._token = token
        self._sleep = sleep
        self._tries = tries
        self._waited_s = 0.0
        self._api = HfApi(endpoint=endpoint, token=token or False, library_name="xrarchive")

    def account(self) -> Account:
        """Whose token it is, and what it says of its rights."""
        found = self.call("Asking whose token this is", self._api.whoami)
        role = found.get("auth", {}).get("accessToken", {}).get("role")
        orgs = {org["name"]: org.get("roleInOrg") for org in found.get("orgs", [])}
        # An organisation that does not tell its roles is left to the Hub to refuse.
        writable = {name for name, given in orgs.items() if given is None or given in _WRITING_ROLES}
        return Account(str(found["name"]), role == "read", frozenset({str(found["name"]), *writable}))

    def look(self, content: RepoContent) -> RemoteState | None:
        """The repository as it stands, None if there is none."""
        try:
            info = self._info(content, None)
        except AccessError as err:
            if _is_no_such_repository(err.__cause__):
                return None
            raise
        refs = self.call(
            f"Reading the tags of {content.repo}",
            lambda: self._api.list_repo_refs(content.repo, repo_type=content.kind),
        )
        gated: Gating | None = info.gated if info.gated in ("auto", "manual") else None
        return RemoteState(str(info.sha), bool(info.private), gated, frozenset(ref.name for ref in refs.tags))

    def create(self, content: RepoContent, access: Access) -> RemoteState:
        """Make the repository, unless somebody just did, and let in only whom `access` names."""
        self.call(
            f"Creating the {content.kind} repository {content.repo}",
            lambda: self._api.create_repo(
                content.repo, repo_type=content.kind, private=access.private or None, exist_ok=True
            ),
        )
        info = self._info(content, None)
        gated: Gating | None = info.gated if info.gated in ("auto", "manual") else None
        return RemoteState(str(info.sha), bool(info.private), gated, frozenset())

    def gate(self, content: RepoContent, gated: Gating) -> None:
        """Let nobody in who did not ask."""
        self.call(
            f"Gating {content.repo}",
            lambda: self._api.update_repo_settings(content.repo, repo_type=content.kind, gated=gated),
        )

    def tagged_commit(self, content: RepoContent, tag: str) -> str | None:
        """Commit a user of `tag` gets, None if there is no such tag."""
        from huggingface_hub.errors import RevisionNotFoundError

        try:
            return self.commit_of(content, tag)
        except RemoteError as err:
            if isinstance(err.__cause__, RevisionNotFoundError):
                return None
            raise

    def commit_of(self, content: RepoContent, revision: str | None, *, tries: int = MAX_TRIES) -> str:
        """Commit a branch or tag stands at; None = main."""
        return str(self._info(content, revision, tries=tries).sha)

    def _info(self, content: RepoContent, revision: str | None, *, tries: int = MAX_TRIES) -> DatasetInfo | ModelInfo:
        doing = f"Reading {content.repo} at {revision or 'main'}"
        info = self.call(
            doing,
            lambda: self._api.repo_info(content.repo, repo_type=content.kind, revision=revision),
            tries=tries,
        )
        if info.sha is None:
            raise RemoteError(f"{doing}: {self.endpoint} names no commit.", fix=AGAIN)
        return cast("DatasetInfo | ModelInfo", info)

    def tree(self, content: RepoContent, revision: str) -> dict[str, RemoteFile]:
        """Every file of the repository at a commit."""
        from huggingface_hub import RepoFile

        entries = self.call(
            f"Listing {content.repo} at {revision[:12]}",
            lambda: list(
                self._api.list_repo_tree(content.repo, repo_type=content.kind, revision=revision, recursive=True)
            ),
        )
        return {
            entry.path: RemoteFile(entry.blob_id, entry.lfs.sha256 if entry.lfs else None)
            for entry in entries
            if isinstance(entry, RepoFile)
        }

    def download(self, content: RepoContent, path: str, commit: str) -> Path:
        """A local copy of one file at a commit, from the client library's cache if it is there.

        Tried again like every call: the library itself repeats some faults of downloads, and gives up at others.
        """
        from huggingface_hub.errors import LocalEntryNotFoundError

        def get() -> Path:
            try:
                return Path(
                    self._api.hf_hub_download(
                        content.repo, path, repo_type=content.kind, revision=commit, dry_run=False
                    )
                )
            except LocalEntryNotFoundError as err:  # how the library puts every fault of the network
                raise err.__cause__ or err from err

        return self.call(f"Downloading {path} of {content.repo} at {commit[:12]}", get)

    def upload(self, content: RepoContent, items: Sequence[Upload]) -> list[CommitOperationAdd]:
        """Send files ahead of their commit, where they stay invisible. Sending what the Hub has costs next to nothing.

        Raises:
            DamageError: If a local file changed since it was checked.
        """
        doing = f"Uploading {len(items)} files to {content.repo}" if len(items) > 1 else f"Uploading {items[0].path}"
        additions = self.call(doing, lambda: [_addition(item) for item in items])
        self.call(
            doing,
            lambda: self._api.preupload_lfs_files(
                content.repo, additions=additions, repo_type=content.kind, free_memory=False
            ),
            tries=_UPLOAD_TRIES,
        )
        for item, addition in zip(items, additions, strict=True):
            if addition.upload_info.sha256.hex() != item.sha256 or not item.is_untouched():
                raise _changed(item)
        return additions

    def commit(
        self,
        content: RepoContent,
        additions: Iterable[CommitOperationAdd],
        removals: Iterable[str],
        *,
        parent: str,
        title: str,
        description: str,
    ) -> str:
        """Make one commit on top of `parent`, in a single try; returns the new commit.

        Raises:
            ConflictError: If main no longer stands at `parent`; nothing was done.
            TransientError: If no proper reply came. The commit may or may not exist: read the head.
        """
        from huggingface_hub import CommitOperationDelete

        deletions = [CommitOperationDelete(path, is_folder=False) for path in removals]
        info = self._once(
            f"Committing to {content.repo}",
            lambda: self._api.create_commit(
                content.repo,
                [*additions, *deletions],
                commit_message=title,
                commit_description=description,
                repo_type=content.kind,
                parent_commit=parent,
            ),
        )
        return info.oid

    def create_tag(self, content: RepoContent, tag: str, commit: str, message: str) -> None:
        """Tag a commit; what an existing tag points at is for the caller to look up."""
        with contextlib.suppress(ConflictError):  # ours, if an earlier reply was lost; or somebody else's
            self.call(
                f"Tagging {content.repo} {tag}",
                lambda: self._api.create_tag(
                    content.repo, tag=tag, tag_message=message, revision=commit, repo_type=content.kind
                ),
            )

    def call(self, doing: str, action: Callable[[], T], *, tries: int = MAX_TRIES) -> T:
        """Run a call that may safely be repeated, waiting between tries."""
        for attempt in range(1, min(tries, self._tries)):
            try:
                return self._once(doing, action)
            except TransientError as fault:
                self.wait(fault, attempt)
        return self._once(doing, action)

    def wait(self, fault: TransientError, attempt: int) -> None:
        """Sleep before try `attempt` + 1: as long as the Hub asked, else 1, 2, 4, … seconds."""
        asked = fault.retry_after_s
        wait_s = min(MAX_WAIT_S, _FIRST_WAIT_S * 2 ** (attempt - 1) if asked is None else asked)
        self._waited_s += wait_s
        if self._waited_s > MAX_TOTAL_WAIT_S:
            raise fault
        _log.warning("%s Trying again in %.0f s (%d of %d).", fault.message, wait_s, attempt + 1, MAX_TRIES)
        self._sleep(wait_s)

    def _once(self, doing: str, action: Callable[[], T]) -> T:
        import httpx2

        _limit_waits()
        try:
            return action()
        except (httpx2.HTTPError, OSError, ValueError, RuntimeError, KeyError) as err:
            raise translate(err, f"{doing} at {self.endpoint}", self._token) from err


def _is_no_such_repository(err: BaseException | None) -> bool:
    """Whether the Hub said, to somebody it knows, that there is none; to strangers it says 401."""
    from huggingface_hub.errors import RepositoryNotFoundError

    return isinstance(err, RepositoryNotFoundError) and err.response.status_code == 404


def _addition(item: Upload) -> CommitOperationAdd:
    """The client library's form of a file. Over LFS the Hub checks a hash that is handed over, so that ours will do."""
    from huggingface_hub import CommitOperationAdd, constants

    if isinstance(item.source, bytes):
        return CommitOperationAdd(item.path, item.source)
    addition = CommitOperationAdd(item.path, str(item.source))
    over_xet = not constants.HF_HUB_DISABLE_XET and importlib.util.find_spec("hf_xet") is not None
    if item.is_untouched() and not over_xet:
        addition.upload_info.sha256 = bytes.fromhex(item.sha256)
    return addition


def _changed(item: Upload) -> DamageError:
    return DamageError(
        f"{item.source!s} changed while it was uploaded; nothing was published.",
        fix="Wait until nothing writes to the archive, run `xrarchive check`, then publish again.",
        path=str(item.source),
    )


@contextlib.contextmanager
def open_hub(
    *,
    token: str | None = None,
    reading: bool = False,
    sleep: Callable[[float], None] = time.sleep,
    tries: int = MAX_TRIES,
) -> Iterator[HubClient]:
    """A client for ``HF_ENDPOINT`` (the Hugging Face Hub unless set), with time limits and no progress bars of its own.

    The client library's settings are put back on leaving; a session that has time limits already keeps them.

    Args:
        token: None takes ``HF_TOKEN`` or the one stored by ``hf auth login``.
        reading: Whether to go without a token if there is none: public repositories ask for none.
        sleep: Called with seconds between tries.
        tries: How often a fault that may pass is tried.

    Raises:
        AccessError: If there is no token and one is needed, or it holds characters no token has.
    """
    from huggingface_hub import constants

    endpoint = (os.environ.get("HF_ENDPOINT") or constants.ENDPOINT).rstrip("/")
    found = _find_token(token, endpoint, reading=reading)
    client = HubClient(endpoint=endpoint, token=found, sleep=sleep, tries=tries)
    with _quiet_progress_bars(), _restored_time_limits():
        yield client


def has_token() -> bool:
    """Whether there is a token to show to a Hub."""
    from huggingface_hub import get_token

    return bool(get_token())


def _find_token(token: str | None, endpoint: str, *, reading: bool) -> str:
    from huggingface_hub import get_token

    found = (token if token is not None else get_token() or "").strip()
    if not found and reading:
        return ""
    if not found:
        raise AccessError(
            f"There is no token for {endpoint}.",
            fix="Run `hf auth login`, or set HF_TOKEN to a token with write access.",
        )
    if not re.fullmatch(r"[\x21-\x7e]+", found):
        raise AccessError(
            f"The token for {endpoint} holds characters no token has (spaces, line breaks or non-ASCII).",
            fix="Copy the token again from the Hub's settings page.",
        )
    return found


@contextlib.contextmanager
def _quiet_progress_bars() -> Iterator[None]:
    """Keep the client library from drawing on stderr: progress is told through `on_status`."""
    from huggingface_hub import constants
    from huggingface_hub.utils.tqdm import (
        are_progress_bars_disabled,
        disable_progress_bars,
        enable_progress_bars,
    )

    if are_progress_bars_disabled() or constants.HF_HUB_DISABLE_PROGRESS_BARS is False:
        yield
        return
    disable_progress_bars()
    try:
        yield
    finally:
        enable_progress_bars()


def _limit_waits() -> None:
    """Give the library's shared session time limits if it has none. Faults may renew it, so ask each time."""
    import httpx2
    from huggingface_hub import get_session

    session = get_session()
    if session.timeout == httpx2.Timeout(None):
        session.timeout = httpx2.Timeout(_READ_TIMEOUT_S, connect=_CONNECT_TIMEOUT_S)


@contextlib.contextmanager
def _restored_time_limits() -> Iterator[None]:
    from huggingface_hub import get_session

    before = get_session().timeout
    try:
        yield
    finally:
        get_session().timeout = before
