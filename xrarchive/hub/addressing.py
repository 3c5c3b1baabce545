"""What only publishing knows, put into the texts that go up: repository, tag, weights, gate, retracted versions.

In: the files of a repository as the archive has them, in which ``OWNER/NAME`` and ``vX.Y.Z`` stand for what was not
known when they were written. Out: the same with those filled in, and with SHA256SUMS of the new bytes. The archive's
own files stay as they are, so that it may be published elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import yaml

from xrarchive.archive.manifest import CITATION_NAME, CROISSANT_NAME, README_NAME, SUMS_NAME
from xrarchive.files import sha256_bytes
from xrarchive.hub.content import RepoContent

# Texts in which the two words stand for repository and tag.
_FILLED = (README_NAME, CITATION_NAME, CROISSANT_NAME)
_FENCE = "---\n"


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
    texts = {name: _fill(text, content.repo, tag) for name, text in content.texts.items() if name in _FILLED}
    if README_NAME in texts:
        texts[README_NAME] = _card(texts[README_NAME].decode(), weights, prompt, retracted or {}).encode()
    if SUMS_NAME in content.texts:
        texts[SUMS_NAME] = _sums(content.texts[SUMS_NAME], texts)
    return content.with_texts(texts)


def _fill(text: bytes, repo: str, tag: str) -> bytes:
    return text.replace(b"OWNER/NAME", repo.encode()).replace(b"vX.Y.Z", tag.encode())


def _card(text: str, weights: WeightsLink | None, prompt: str, retracted: Mapping[str, Retraction]) -> str:
    _, head, body = text.split(_FENCE, 2) if text.startswith(_FENCE) and text.count(_FENCE) > 1 else ("", "", text)
    if prompt:
        head += yaml.safe_dump({"extra_gated_prompt": prompt}, allow_unicode=True, width=1 << 20)
    notices = "".join(f"> **{tag} is retracted** ({it.date}): {it.reason}\n\n" for tag, it in sorted(retracted.items()))
    body = f"\n{notices}{body.lstrip()}" if notices else body
    body += _weights(weights) if weights else ""
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
