"""What validation found wrong with an archive: records, never exceptions."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal

# error: must not be published as it is; warning: a publisher must look and decide; note: could not be measured here.
Severity = Literal["error", "warning", "note"]


@dataclass(frozen=True)
class Problem:
    """One thing to know before publishing.

    Attributes:
        id: What kind, dotted from general to special: ``duplicates.exact``, ``labels.agreement``.
        severity: See `Severity`.
        message: What, where and how much.
    """

    id: str
    severity: Severity
    message: str

    def as_dict(self) -> dict[str, str]:
        """The form the report holds."""
        return asdict(self)
