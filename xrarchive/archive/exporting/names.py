"""Image ids and labels as names of files and folders: any text in, a name that is safe everywhere out.

A name has no dot, so that it cannot leave its folder and readers of WebDataset find its end, and begins with a letter
or digit, so that no tool takes it for an option or a formula. Different texts give different names.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

from xrarchive.files import sha256_bytes

_SAFE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_+-]{0,199}")
_HASHED = re.compile(r"sha256-[0-9a-f]{64}")


def safe_name(text: str) -> str:
    """`text` itself if it is a safe name, else ``sha256-`` and its hash."""
    # A text that looks like a hashed name is hashed too: else another text could end with the same name.
    if _SAFE.fullmatch(text) and not _HASHED.fullmatch(text):
        return text
    return f"sha256-{sha256_bytes(text.encode())}"


def folder_names(labels: Iterable[str]) -> dict[str, str]:
    """Labels as folders, spaces as ``_``; those alike but for case are hashed."""
    plain = {label: label.replace(" ", "_") for label in labels}
    taken = Counter(name.casefold() for name in plain.values())
    return {
        label: safe_name(name) if taken[name.casefold()] == 1 else f"sha256-{sha256_bytes(label.encode())}"
        for label, name in plain.items()
    }
