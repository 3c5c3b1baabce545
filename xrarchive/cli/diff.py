"""`xrarchive diff`."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import click

from xrarchive.cli.options import FILE, example, json_option
from xrarchive.cli.output import Result, cell, emit, say, table

_IDS_SHOWN, _SCORES_SHOWN = 5, 10
_HASH_SHOWN, _SHA256_LENGTH = 12, 64


@click.command(
    epilog=example("xrarchive diff OWNER/NAME@v1.0.0 archive --changelog CHANGELOG.md", "xrarchive diff before after")
)
@click.argument("first", metavar="A")
@click.argument("second", metavar="B")
@click.option("--changelog", metavar="FILE", type=FILE, help="Put an entry of B's version on top of this file.")
@json_option(
    "a, b (name, version, manifest_sha256, rows), added, removed (ids), changed (id: columns), columns (column: rows), "
    "only_a, only_b (columns), settings (where, name, old, new), builds_added, builds_removed, labels, "
    "scores (of the rows that differ), withdrawn, history, shards_shared, shards_read, bytes_read"
)
def diff(as_json: bool, first: str, second: str, changelog: Path | None) -> None:
    """Say what differs between two archives: folders, or OWNER/NAME@REVISION on the Hub. Exit code 0 if they do, too.

    Shards that both have are neither read nor downloaded.
    """
    from xrarchive import pipeline

    emit("diff", pipeline.diff(first, second, changelog=changelog), _show, as_json=as_json)


def _show(result: Result) -> None:
    versions = f"{result['a']['version']} -> {result['b']['version']}"
    say(f"{result['a']['rows']:,} -> {result['b']['rows']:,} rows, version {versions}")
    for what in ("added", "removed", "changed"):
        ids = list(result[what])
        more = ", …" if len(ids) > _IDS_SHOWN else ""
        say(f"{len(ids):,} {what}{': ' if ids else ''}{', '.join(ids[:_IDS_SHOWN])}{more}")
    for column, rows in result["columns"].items():
        say(f"  {column} differs in {rows:,}")
    for side in ("a", "b"):
        if columns := result[f"only_{side}"]:
            say(f"Columns of {result[side]['name']} alone: {', '.join(columns)}")
    for reason, count in Counter(item["reason"] for item in result["withdrawn"]).items():
        say(f"{count:,} withdrawn: {' '.join(reason.split())}")
    _show_shifts(result)
    if result["settings"]:
        columns = ("where", "name", "old", "new")
        table(columns, [[_short(item[name]) for name in columns] for item in result["settings"]])


def _show_shifts(result: Result) -> None:
    if result["labels"]:
        table(("label", "before", "after"), [list(item.values()) for item in result["labels"]])
    if result["scores"]:
        say("Scores of the rows that differ, means and Kolmogorov-Smirnov distance:")
        columns = ("column", "before", "after", "ks")
        farthest = sorted(result["scores"], key=lambda item: -(item["ks"] or 0))
        table(columns, [[item[name] for name in columns] for item in farthest[:_SCORES_SHOWN]])
        if len(farthest) > _SCORES_SHOWN:
            say(f"… and {len(farthest) - _SCORES_SHOWN} that moved no farther: see --json.")


def _short(value: object) -> str:
    """A value in a cell of text; a sha256 by its beginning."""
    text = cell(value) if value is None or not isinstance(value, int | float) else str(value)
    is_hash = len(text) == _SHA256_LENGTH and not set(text) - set("0123456789abcdef")
    return text[:_HASH_SHOWN] if is_hash else text
