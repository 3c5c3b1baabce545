"""What a page holds inside itself, so that it needs no network: named by hash in its policy, or set as inert data."""

from __future__ import annotations

import base64
import hashlib
import json


def hash_source(text: str) -> str:
    """The hash by which a content security policy names an inline script or style."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def page_policy(style: str, script: str | None = None) -> str:
    """A policy that allows nothing but this style, this program if there is one, and pictures from the page itself."""
    program = "" if script is None else f"script-src {hash_source(script)}; "
    return (
        f"default-src 'none'; img-src data:; style-src {hash_source(style)}; {program}"
        "base-uri 'none'; form-action 'none'"
    )


def inline_json(value: object) -> str:
    """JSON in ASCII that cannot end the element it stands in.

    Raises:
        ValueError: If `value` holds NaN or infinity, which is no JSON.
    """
    return json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
