"""One Hub, spoken to through huggingface_hub, with faults told apart.

Every call either returns or raises one of ours:

    AccessError      no token, a wrong one, or one without the right: never tried again
    TransientError   timeouts, resets, 408, 429, 5xx: tried up to `MAX_TRIES` times, waiting as the Hub asks
    ConflictError    409 and 412: somebody was there first; the caller looks again and decides
    RemoteError      anything else the Hub, or the client library, refused

*Why* our own retries: huggingface_hub 2.4 retries uploads, but not ``whoami``, ``create_repo``, ``create_commit`` or
``create_tag``, and waits without limit for a server that accepts and never answers.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import email.utils
import json
import logging
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from xrarchive.errors import AccessError, DamageError, RemoteError, StorageError, XrArchiveError
from xrarchive.hub.plan import RepoContent, Upload

if TYPE_CHECKING:
    from huggingface_hub import CommitOperationAdd

MAX_TRIES = 6
MAX_WAIT_S = 300.0  # the Hub counts requests in windows of five minutes; waiting longer than one never helps
_FIRST_WAIT_S = 1.0
_CONNECT_TIMEOUT_S = 20.0
_READ_TIMEOUT_S = 120.0  # twice the time the Hub gives itself for a commit
_TRANSIENT_STATUS = frozenset({408, 425, 429})
# How hf_xet words the Hub's answers to its own calls: a ConnectionError with no response to look at.
_XET_STATUS = re.compile(r"HTTP status (?:client|server) error \((\d{3}) ")
_TOKEN_PATTERN = re.compile(r"hf_\w+")
_AGAIN = "Run the same command again; what was uploaded is kept."

T = TypeVar("T")
_log = logging.getLogger(__name__)


class TransientError(RemoteError):
    """A fault that may pass. `retry_after_s` is how long the Hub asked to wait, None if it did not say."""

    def __init__(self, message: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(message, fix=_AGAIN)
        self.retry_after_s = retry_after_s


class ConflictError(RemoteError):
    """What was to be made exists already, or the branch has moved."""


@dataclass(frozen=True)
class RemoteFile:
    """What the Hub says it holds: `sha256` of the content for large files, None for files it keeps in git."""

    git_sha1: str
    sha256: str | None

    def holds(self, item: Upload) -> bool:
        """Whether this is the content of `item`."""
        return self.sha256 == item.sha256 if self.sha256 is not None else self.git_sha1 == item.git_sha1()


class HubClient:
    """The few calls publishing and reading need. Get one from `open_hub`. The token "" is none."""

    def __init__(self, *, endpoint: str, token: str, sleep: Callable[[float], None]) -> None:
        from huggingface_hub import HfApi

        self.endpoint = endpoint
        self._token = token
        self._sleep = sleep
        self._api = HfApi(endpoint=endpoint, token=token or False, library_name="xrarchive")

    def user(self) -> str:
        """Name of the token's owner; shows that the token works."""
        return str(self.call("Asking whose token this is", self._api.whoami)["name"])

    def create(self, content: RepoContent) -> None:
        """Make the repository unless it exists; its visibility is left as it is."""
        self.call(
            f"Creating the {content.kind} repository {content.repo}",
            lambda: self._api.create_repo(content.repo, repo_type=content.kind, exist_ok=True),
        )

    def head(self, content: RepoContent) -> str:
        """Commit the main branch stands at."""
        return self.commit_of(content, None)

    def tagged_commit(self, content: RepoContent, tag: str) -> str | None:
        """Commit a user of `tag` gets, None if there is no such tag."""
        refs = self.call(
            f"Reading the tags of {content.repo}",
            lambda: self._api.list_repo_refs(content.repo, repo_type=content.kind),
        )
        return self.commit_of(content, tag) if tag in {ref.name for ref in refs.tags} else None

    def commit_of(self, content: RepoContent, revision: str | None) -> str:
        """Commit a branch or tag stands at; None = main."""
        doing = f"Reading {content.repo} at {revision or 'main'}"
        info = self.call(doing, lambda: self._api.repo_info(content.repo, repo_type=content.kind, revision=revision))
        if info.sha is None:
            raise RemoteError(f"{doing}: {self.endpoint} names no commit.", fix=_AGAIN)
        return info.sha

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

    def upload(self, content: RepoContent, item: Upload) -> CommitOperationAdd:
        """Send one file ahead of its commit, where it stays invisible. Sending what the Hub has costs next to nothing.

        Raises:
            DamageError: If the local file changed since it was checked.
        """
        from huggingface_hub import CommitOperationAdd

        doing = f"Uploading {item.path} to {content.repo}"
        source = item.source if isinstance(item.source, bytes) else str(item.source)
        addition = self.call(doing, lambda: CommitOperationAdd(item.path, source))
        self.call(
            doing,
            lambda: self._api.preupload_lfs_files(
                content.repo, additions=[addition], repo_type=content.kind, free_memory=False
            ),
        )
        if addition.upload_info.sha256.hex() != item.sha256:
            raise DamageError(
                f"{item.source!s} changed while it was uploaded; nothing was published.",
                fix="Wait until nothing writes to the archive, run `xrarchive check`, then publish again.",
                path=str(item.source),
            )
        return addition

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

    def create_tag(self, content: RepoContent, tag: str, commit: str) -> None:
        """Tag a commit; what an existing tag points at is for the caller to look up."""
        with contextlib.suppress(ConflictError):  # ours, if an earlier reply was lost; or somebody else's
            self.call(
                f"Tagging {content.repo} {tag}",
                lambda: self._api.create_tag(content.repo, tag=tag, revision=commit, repo_type=content.kind),
            )

    def call(self, doing: str, action: Callable[[], T]) -> T:
        """Run a call that may safely be repeated, waiting between tries."""
        for attempt in range(1, MAX_TRIES):
            try:
                return self._once(doing, action)
            except TransientError as fault:
                self.wait(fault, attempt)
        return self._once(doing, action)

    def wait(self, fault: TransientError, attempt: int) -> None:
        """Sleep before try `attempt` + 1: as long as the Hub asked, else 1, 2, 4, … seconds."""
        asked = fault.retry_after_s
        wait_s = min(MAX_WAIT_S, _FIRST_WAIT_S * 2 ** (attempt - 1) if asked is None else asked)
        _log.warning("%s Trying again in %.0f s (%d of %d).", fault.message, wait_s, attempt + 1, MAX_TRIES)
        self._sleep(wait_s)

    def _once(self, doing: str, action: Callable[[], T]) -> T:
        import httpx2

        _limit_waits()
        try:
            return action()
        except (httpx2.HTTPError, OSError, ValueError, RuntimeError, KeyError) as err:
            raise _translate(err, f"{doing} at {self.endpoint}", self._token) from err


@contextlib.contextmanager
def open_hub(
    *, token: str | None = None, reading: bool = False, sleep: Callable[[float], None] = time.sleep
) -> Iterator[HubClient]:
    """A client for ``HF_ENDPOINT`` (the Hugging Face Hub unless set), with time limits and no progress bars of its own.

    The client library's settings are put back on leaving; a session that has time limits already keeps them.

    Args:
        token: None takes ``HF_TOKEN`` or the one stored by ``hf auth login``.
        reading: Whether to go without a token if there is none: public repositories ask for none.
        sleep: Called with seconds between tries.

    Raises:
        AccessError: If there is no token and one is needed, or it holds characters no token has.
    """
    from huggingface_hub import constants

    endpoint = (os.environ.get("HF_ENDPOINT") or constants.ENDPOINT).rstrip("/")
    client = HubClient(endpoint=endpoint, token=_find_token(token, endpoint, reading=reading), sleep=sleep)
    with _quiet_progress_bars(), _restored_time_limits():
        yield client


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


def _translate(err: Exception, doing: str, token: str) -> XrArchiveError:
    """What `err`, raised by the client library while `doing`, means to us. The message never holds a token."""
    from huggingface_hub import errors

    cause = _innermost(err)
    status = cause.response.status_code if isinstance(cause, errors.HfHubHTTPError) else _xet_status(cause)
    message = _redact(f"{doing}: {_describe(cause)}", token)
    if isinstance(cause, OSError) and cause.filename is not None:
        return StorageError(f"Cannot read {cause.filename}: {cause.strerror}.", fix=_AGAIN, path=cause.filename)
    if isinstance(cause, errors.OfflineModeIsEnabled):
        return RemoteError(message, fix="Unset HF_HUB_OFFLINE, then run the same command again.")
    if status in (401, 403) or isinstance(cause, (errors.RepositoryNotFoundError, PermissionError)):
        return AccessError(
            message,
            fix="Log in with `hf auth login` (or set HF_TOKEN) using a token that may write to that repository.",
        )
    if status in (409, 412):
        return ConflictError(message, fix=_AGAIN)
    if _may_pass(cause, status):
        headers = cause.response.headers if isinstance(cause, errors.HfHubHTTPError) else {}
        return TransientError(message, retry_after_s=_retry_after_s(headers))
    return RemoteError(message, fix="Correct what the message names, then run the same command again.")


def _innermost(err: Exception) -> Exception:
    """The fault itself: uploads arrive wrapped in a RuntimeError."""
    while isinstance(err, RuntimeError) and isinstance(err.__cause__, Exception):
        err = err.__cause__
    return err


def _xet_status(err: Exception) -> int | None:
    found = _XET_STATUS.search(str(err)) if isinstance(err, ConnectionError) else None
    return int(found[1]) if found else None


def _describe(err: Exception) -> str:
    from huggingface_hub import errors

    if isinstance(err, errors.HfHubHTTPError):
        said = err.server_message or err.response.headers.get("X-Error-Message") or err.response.reason_phrase
        return f"HTTP {err.response.status_code} ({' '.join(said.split())})."
    text = " ".join(str(err).split())
    return f"{type(err).__name__}: {text}." if text else f"{type(err).__name__}."


def _redact(text: str, token: str) -> str:
    return _TOKEN_PATTERN.sub("hf_…", text.replace(token, "hf_…") if token else text)


def _may_pass(err: Exception, status: int | None) -> bool:
    import httpx2

    if status is not None:
        return status in _TRANSIENT_STATUS or status >= 500
    faults = (httpx2.TimeoutException, httpx2.NetworkError, httpx2.RemoteProtocolError, httpx2.ProxyError)
    return isinstance(err, (*faults, ConnectionError, TimeoutError, json.JSONDecodeError))


def _retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait by the Hub's rate-limit headers or ``Retry-After`` (seconds or a date); None if not said."""
    from huggingface_hub.utils import parse_ratelimit_headers  # type: ignore[attr-defined]

    limit = parse_ratelimit_headers(headers)
    if limit is not None and limit.remaining == 0:
        return float(limit.reset_in_seconds)
    value = headers.get("Retry-After", "").strip()
    if value.isdigit():
        return float(value)
    try:
        until = email.utils.parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(0.0, (until - dt.datetime.now(tz=until.tzinfo)).total_seconds())
