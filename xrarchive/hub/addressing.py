"""What only publishing knows, put into the texts that go up: repository, tag, weights, gate, retracted versions.

In: the files of a repository as the archive has them, in which ``OWNER/NAME`` and ``vX.Y.Z`` stand for what was not
known when they were written. Out: the same with those filled in, and with SHA256SUMS of the new bytes. The archive's
own files stay as they are, so that it may be published elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import yaml

from xrarchive.archive.manifest import CHANGELOG_NAME, README_NAME, SUMS_NAME
from xrarchive.cards.addressing import ADDRESSED, fill_in
from xrarchive.errors import DamageError
from xrarchive.files import dump_json, read_json, sha256_bytes
from xrarchive.hub.content import RepoContent

_FENCE = "---\n"
_NOTICE = re.compile(r"^> \*\*v[\d.]+ is retracted\*\* \(.*\n\n", re.MULTILINE)


@dataclass(frozen=True)
class Retraction:
    """Why a version should be used no more, and since when (`YYYY-MM-DD`)."""

    reason: str
    date: str


@dataclass(frozen=True)
class WeightsLink:
    """Where the weights of a version are: a repository, at a tag, at a commit ("" in a folder)."""

    repo: str
    tag: str
    commit: str


def address(
    content: RepoContent,
    tag: str,
    *,
    weights: WeightsLink | None = None,
    prompt: str = "",
    retracted: Mapping[str, Retraction] | None = None,
) -> RepoContent:
    """The content as it goes up.

    Args:
        content: As the archive has it.
        tag: ``vX.Y.Z``.
        weights: Named at the end of the card, if they are published.
        prompt: What somebody is told who asks to be let in; goes into the card's head if there is one.
        retracted: Notices on top of the card, by tag.
    """
    texts = {
        name: fill_in(name, text, repo=content.repo, version=tag[1:])
        for name, text in content.texts.items()
        if name in ADDRESSED
    }
    if README_NAME in texts:
        texts[README_NAME] = _card(texts[README_NAME].decode(), weights, prompt).encode()
    return mark_retracted(content.with_texts(texts), retracted or {})


def mark_retracted(content: RepoContent, retracted: Mapping[str, Retraction]) -> RepoContent:
    """The content with notices of retracted versions on card and changelog, and SHA256SUMS of all its texts.

    Notices that are there already are replaced: done twice it gives the same.
    """
    texts = dict(content.texts)
    for name, mark in ((README_NAME, _mark_card), (CHANGELOG_NAME, _mark_changelog)):
        if name in texts and (retracted or _NOTICE.search(texts[name].decode())):
            texts[name] = mark(_NOTICE.sub("", texts[name].decode()), retracted).encode()
    if SUMS_NAME in texts:
        texts[SUMS_NAME] = _sums(texts[SUMS_NAME], texts)
    return content.with_texts(texts)


def dump_retractions(retracted: Mapping[str, Retraction]) -> bytes:
    """The bytes of retractions.json."""
    return dump_json({tag: asdict(item) for tag, item in retracted.items()})


def load_retractions(path: Path) -> dict[str, Retraction]:
    """Versions taken back, by tag.

    Raises:
        InputDataError, DamageError: If there is no such file, or it is not what `dump_retractions` writes.
    """
    fix = "Restore the file in the repository."
    try:
        return {tag: Retraction(**item) for tag, item in read_json(path, what="list of retractions", fix=fix).items()}
    except (TypeError, AttributeError) as err:
        raise DamageError(f"{path} is no list of retractions: {err}.", fix=fix, path=path) from err


def _card(text: str, weights: WeightsLink | None, prompt: str) -> str:
    head, body = _split(text)
    if prompt and head:
        head += yaml.safe_dump({"extra_gated_prompt": prompt}, allow_unicode=True, width=1 << 20)
    return _join(head, body + (_weights(weights) if weights else ""))


def _mark_card(text: str, retracted: Mapping[str, Retraction]) -> str:
    """The notices on top of the text, below the YAML head."""
    head, body = _split(text)
    notices = "".join(_notice(tag, item) for tag, item in sorted(retracted.items()))
    return _join(head, f"\n{notices}{body.lstrip()}" if head else f"{notices}{body}")


def _mark_changelog(text: str, retracted: Mapping[str, Retraction]) -> str:
    """Each notice below the heading of its version."""
    for tag, item in retracted.items():
        own = re.search(rf"^## \[?{re.escape(tag[1:])}\]?(?=\s|$).*\n\n?", text, re.MULTILINE)
        at = own.end() if own else len(text)
        text = f"{text[:at]}{_notice(tag, item)}{text[at:]}"
    return text


def _notice(tag: str, item: Retraction) -> str:
    # One line, so that it can be found again and no reason can pass for a heading.
    return f"> **{tag} is retracted** ({item.date}): {' '.join(item.reason.split())}\n\n"


def _split(text: str) -> tuple[str, str]:
    """YAML head, "" if there is none, and body."""
    parts = text.split(_FENCE, 2)
    return (parts[1], parts[2]) if len(parts) == 3 and not parts[0] else ("", text)


def _join(head: str, body: str) -> str:
    return f"{_FENCE}{head}{_FENCE}{body}" if head else body


def _weights(link: WeightsLink) -> str:
    commit = f", commit `{link.commit}`" if link.commit else ""
    return (
        f"\n## Weights\n\nThe networks that made these images are published as `{link.repo}`, `{link.tag}`{commit}.\n"
    )


def _sums(sums: bytes, texts: Mapping[str, bytes]) -> bytes:
    """SHA256SUMS with the hashes of the texts that were changed."""
    lines = (line.split("  ", 1) for line in sums.decode().splitlines())
    found = {name: sha256_bytes(texts[name]) if name in texts else digest for digest, name in lines}
    return "".join(f"{digest}  {name}\n" for name, digest in found.items()).encode()
