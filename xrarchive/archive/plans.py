"""What a folder was begun with against what is asked of it now, in words; `writer` refuses to mix the two."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from xrarchive.archive.manifest import BuildRecord
from xrarchive.errors import PlanChangedError


def plan_of(build: BuildRecord) -> dict[str, object]:
    """What decided a finished build, by name."""
    return {
        "requests": _in_words((tally.findings, tally.absent, tally.asked) for tally in build.tallies),
        "seed": build.seed,
        **{role: record.sha256[:12] for role, record in build.weights.items()},
        **build.settings,
    }


def comparable(plan: Mapping[str, Any]) -> dict[str, object]:
    """What decides a build, by name, from the values of its claim."""
    return {
        "requests": _in_words((item["findings"], item["absent"], item["count"]) for item in plan["requests"]),
        "seed": plan["seed"],
        **{role: sha256[:12] for role, sha256 in plan["weights"].items()},
        **plan["search"],
        **plan.get("versions", {}),
    }


def _in_words(requests: Iterable[tuple[Sequence[str], Sequence[str], int]]) -> str:
    """The order counts too: it decides the order of the rows."""
    return ", ".join(
        f"{count} {'|'.join(findings)}" + (f" without {'|'.join(absent)}" if absent else "")
        for findings, absent, count in requests
    )


def plan_changed(
    folder: Path, what: str, before: Mapping[str, object], after: Mapping[str, object]
) -> PlanChangedError:
    """The error that names what is otherwise than in `what` the folder holds."""
    changes = [
        f"{key}: {before[key]} there, {after[key]} now" for key in after if key in before and before[key] != after[key]
    ]
    return PlanChangedError(
        f"{folder} holds {what} of another plan: {'; '.join(changes) or 'of another version of xrarchive'}.",
        fix="Give the same arguments to continue it, or another --out for a new archive.",
        path=folder,
    )
