"""stats.jsonl, the course of a training: one JSON object a line, in the order of images shown.

    {"nimg": 4000, "steps": 125, "px": 64, "alpha": 0.5, "loss_d": ..., ...}      a tick, see `xrarchive.gan.monitor`
    {"nimg": 8000, "kid": 0.31, "kid_low": ..., "kid_high": ..., "n": 1000, ...}  a measurement; "critic": see memory

Written by the monitor, read by `status` and the curves while it is written: without a lock and without torch.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from xrarchive.files import write_bytes

STATS_NAME = "stats.jsonl"

# Far more than curves show; a tick stays one short line.
_SIGNIFICANT_DIGITS = 6

Record = dict[str, Any]


def read_stats(run: Path) -> list[Record]:
    """The whole lines of a run's stats.jsonl; one that is half written, or damaged, is passed over. [] if no file."""
    try:
        lines = (
            (run / STATS_NAME).read_bytes().split(b"\n")[:-1]
        )  # what follows the last newline is still being written
    except FileNotFoundError:
        return []
    return [record for line in lines if (record := _parsed(line)) is not None]


def ticks(records: Iterable[Record]) -> list[Record]:
    """The ticks among the records."""
    return [record for record in records if "px" in record]


def measurements(records: Iterable[Record]) -> list[Record]:
    """The KID figures among the records."""
    return [record for record in records if record.get("kid") is not None]


def best_measurement(records: Iterable[Record]) -> Record | None:
    """The record of the lowest KID, of equal ones the earliest; None if nothing was measured."""
    return min(measurements(records), key=lambda record: (record["kid"], record["nimg"]), default=None)


class StatsFile:
    """The stats.jsonl of a run that goes on at `nimg`: lines past that point, or cut short, are dropped.

    Attributes:
        records: What the file holds.
    """

    def __init__(self, run: Path, nimg: int) -> None:
        self._path = run / STATS_NAME
        self.records = [record for record in read_stats(run) if record["nimg"] <= nimg]
        self._rewrite()

    def put(self, values: Mapping[str, object]) -> Record:
        """Append a record, or put it in place of the one of the same kind and nimg; returns it as written."""
        record = {name: _short(value) for name, value in values.items() if value is not None}
        if self.records and record["nimg"] <= self.records[-1]["nimg"]:
            self.records = [old for old in self.records if _key(old) != _key(record)] + [record]
            self.records.sort(key=_key)
            self._rewrite()
        else:
            self.records.append(record)
            with self._path.open("ab") as stream:
                stream.write(_line(record))
        return record

    def _rewrite(self) -> None:
        write_bytes(self._path, b"".join(map(_line, self.records)))


def _parsed(line: bytes) -> Record | None:
    try:
        record = json.loads(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) and isinstance(record.get("nimg"), int) else None


def _key(record: Record) -> tuple[int, bool]:
    """Where a record belongs: at its nimg, the measurement after the tick."""
    return record["nimg"], "px" not in record


def _line(record: Record) -> bytes:
    return json.dumps(record, separators=(", ", ": "), allow_nan=False).encode() + b"\n"


def _short(value: object) -> object:
    """Floats with `_SIGNIFICANT_DIGITS` digits; NaN and infinity, which JSON has not, as None."""
    if not isinstance(value, float):
        return value
    return float(f"{value:.{_SIGNIFICANT_DIGITS}g}") if math.isfinite(value) else None
