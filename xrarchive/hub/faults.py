"""Faults of a Hub, and of the way to it, told apart; and whether trying again is of use.

AccessError      no token, a wrong one, or one without the right (401, 403, no such repository): never tried again
TransientError   timeouts, resets, 408, 425, 429, 5xx: may pass
ConflictError    409 and 412: somebody was there first; the caller looks again and decides
RemoteError      anything else the Hub, or the client library, refused (400, 404, 413 ...): never tried again
"""

from __future__ import annotations

import datetime as dt
import email.utils
import json
import re
from collections.abc import Mapping

from xrarchive.errors import AccessError, RemoteError, StorageError, XrArchiveError

AGAIN = "Run the same command again; what was uploaded is kept."
_TRANSIENT_STATUS = frozenset({408, 425, 429})
# How hf_xet words the Hub's answers to its own calls: a ConnectionError with no response to look at.
_XET_STATUS = re.compile(r"HTTP status (?:client|server) error \((\d{3}) ")
_TOKEN_PATTERN = re.compile(r"hf_\w+")


class TransientError(RemoteError):
    """A fault that may pass. `retry_after_s` is how long the Hub asked to wait, None if it did not say."""

    def __init__(self, message: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(message, fix=AGAIN)
        self.retry_after_s = retry_after_s


class ConflictError(RemoteError):
    """What was to be made exists already, or the branch has moved."""


def translate(err: Exception, doing: str, token: str) -> XrArchiveError:
    """What `err`, raised by the client library while `doing`, means to us. The message never holds a token."""
    from huggingface_hub import errors

    cause = _innermost(err)
    status = cause.response.status_code if isinstance(cause, errors.HfHubHTTPError) else _xet_status(cause)
    message = redact(f"{doing}: {_describe(cause)}", token)
    if isinstance(cause, OSError) and cause.filename is not None:
        return StorageError(f"Cannot read {cause.filename}: {cause.strerror}.", fix=AGAIN, path=cause.filename)
    if isinstance(cause, errors.OfflineModeIsEnabled):
        return RemoteError(message, fix="Unset HF_HUB_OFFLINE, then run the same command again.")
    if status in (401, 403) or isinstance(cause, (errors.RepositoryNotFoundError, PermissionError)):
        return AccessError(
            message,
            fix="Log in with `hf auth login` (or set HF_TOKEN) using a token that may write to that repository.",
        )
    if status in (409, 412):
        return ConflictError(message, fix=AGAIN)
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


def redact(text: str, token: str) -> str:
    """`text` without `token`, and without anything else that has the form of one."""
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
