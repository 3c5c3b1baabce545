"""The curves of a training as a PNG: stats.jsonl in, a picture out. Works while the training runs; no torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from xrarchive.errors import InputDataError
from xrarchive.files import atomic_path
from xrarchive.gan.stats import STATS_NAME, Record, measurements, read_stats, ticks

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_INCHES = (10.0, 13.0)
_DPI = 110
_LINES = {"loss_d": "discriminator", "loss_g": "generator", "score_real": "radiographs", "score_fake": "images"}


def plot_curves(run: Path, out: Path) -> None:
    """Draw losses, scores, KID and speed against images shown, with the stages, to the PNG `out`.

    Args:
        run: Folder of a run, which may be going on.
        out: The PNG, written atomically.

    Raises:
        InputDataError: If there is nothing to draw yet, or matplotlib is not installed.
        StorageError: If the disk refuses.
    """
    try:
        from matplotlib.figure import Figure  # without pyplot there is no global state, and a figure draws with Agg
    except ImportError as err:
        raise InputDataError(
            f"Curves cannot be drawn: {err}.", fix='Install matplotlib: pip install "xrarchive[plots]".'
        ) from err
    records = read_stats(run)
    passed = ticks(records)
    if not passed:
        raise InputDataError(
            f"Nothing to draw in {run / STATS_NAME}: expected at least one tick, found none.",
            fix="Wait for the first tick of the training, or name another run.",
            path=run / STATS_NAME,
        )
    figure = Figure(figsize=_INCHES, dpi=_DPI, layout="constrained")
    axes: Sequence[Axes] = figure.subplots(5, 1, sharex=True)
    _draw_lines(axes[0], passed, ("loss_d", "loss_g"), "loss")
    _draw_lines(axes[1], passed, ("score_real", "score_fake"), "score")
    measured = measurements(records)
    _draw_measured(axes[2], measured, "kid", "KID to held-out films")
    _draw_measured(axes[3], measured, "critic", "AUROC, films known by heart")
    _draw_lines(axes[4], passed, ("images_per_s",), "images/s")
    for panel in axes:
        _mark_stages(panel, passed, named=panel is axes[0])
        panel.grid(alpha=0.3)
    axes[4].set_xlabel("images shown")
    axes[4].xaxis.set_major_formatter(lambda value, _position: f"{value:,.0f}")
    figure.suptitle(f"{run.name}, {passed[-1]['nimg']:,} images shown")
    with atomic_path(out) as temporary:
        figure.savefig(temporary, format="png")


def stage_starts(passed: Sequence[Record]) -> list[tuple[int, int]]:
    """``(nimg, px)`` of the first tick of each stage."""
    before: list[Record | None] = [None, *passed[:-1]]
    pairs = zip(passed, before, strict=True)
    return [(tick["nimg"], tick["px"]) for tick, last in pairs if last is None or last["px"] != tick["px"]]


def _draw_lines(panel: Axes, passed: Sequence[Record], names: Sequence[str], title: str) -> None:
    for name in names:
        panel.plot([tick["nimg"] for tick in passed], _values(passed, name), label=_LINES.get(name), linewidth=1)
    panel.set_ylabel(title)
    if len(names) > 1:
        panel.legend(loc="upper right")


def _draw_measured(panel: Axes, measured: Sequence[Record], name: str, title: str) -> None:
    nimgs = [record["nimg"] for record in measured]
    panel.plot(nimgs, _values(measured, name), marker="o", markersize=3, linewidth=1)
    panel.fill_between(nimgs, _values(measured, f"{name}_low"), _values(measured, f"{name}_high"), alpha=0.2)
    panel.set_ylabel(title if any(name in record for record in measured) else f"{title}\n(none measured)")


def _mark_stages(panel: Axes, passed: Sequence[Record], *, named: bool) -> None:
    """A line where each stage starts, grey where it fades in; its size above the line."""
    nimgs, fading = [tick["nimg"] for tick in passed], [tick["alpha"] < 1 for tick in passed]
    across: Callable[..., object] = panel.get_xaxis_transform  # x in images, y from 0 to 1
    panel.fill_between(nimgs, 0, 1, where=fading, transform=across(), color="grey", alpha=0.12, step="pre", linewidth=0)
    for nimg, px in stage_starts(passed):
        panel.axvline(nimg, color="grey", linestyle=":", linewidth=1)
        if named:
            panel.text(nimg, 1.02, f"{px} px", transform=across(), fontsize="small")


def _values(records: Sequence[Record], name: str) -> list[float]:
    """NaN, a gap in the line, where a record has none."""
    return [float("nan") if record.get(name) is None else float(record[name]) for record in records]
