"""Numbers and text as a page shows them: few digits, a true minus sign, nothing that could upset a reader's screen."""

from __future__ import annotations

import math
import re

# C0 and C1 controls but for tab and line break, lone surrogates, and the marks that turn the direction of writing.
_UNFIT = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\u202a-\u202e\u2066-\u2069\ufffe\uffff]")
_SIGNIFICANT = 3
_LARGE = 10_000


def number(value: float | int | None) -> str:
    """Three significant digits, whole numbers whole with their thousands apart; "–" for None or NaN."""
    if value is None or not math.isfinite(value):
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int) or (value.is_integer() and abs(value) >= _LARGE):
        text = f"{value:,.0f}"
    elif value == 0:
        return "0"
    else:
        rounded = float(f"{value:.{_SIGNIFICANT}g}")  # 0.9996 has three digits as 1.00
        digits = max(0, _SIGNIFICANT - 1 - math.floor(math.log10(abs(rounded))))
        text = f"{value:,.{digits}f}" if digits <= _SIGNIFICANT + 2 else f"{value:.1e}"
    return text.replace("-", "−")


def short(value: float) -> str:
    """A round number as an axis shows it, without ends of zeros."""
    return f"{value:,.10g}".replace("-", "−")


def span(low: float | None, high: float | None) -> str:
    """An interval; "–" where there is none."""
    return "–" if low is None or high is None else f"{number(low)} to {number(high)}"


def without_controls(text: str) -> str:
    """`text` with a replacement mark for each character that is none: controls, half characters, turns of direction."""
    return _UNFIT.sub("\ufffd", text)
