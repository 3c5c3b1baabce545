"""The pictures in README, from the bundled weights alone: generates by finding, and what the search changed in them.

    .venv/bin/python scripts/make_figures.py            # into xrarchive/bundled; a minute on two cores

contact-sheet.png   ten images of each offered finding, a row each
before-after.png    a row for each offered finding at a strictness of .02, where more draws must be moved: three
                    times the random draw the search started from, the image it ended at, and their difference (grey =
                    unchanged, white = brighter). Images the search had to move, those nearest to the median of their
                    travel; draws that needed no step are left out.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from xrarchive import pipeline
from xrarchive.archive.reader import read_pixels, read_table
from xrarchive.bundled import bundled_weights
from xrarchive.gan.snapshots import load_snapshot
from xrarchive.latents import draw_latent
from xrarchive.pixels import write_grid
from xrarchive.plan import SearchSettings
from xrarchive.synthesis import render

BUNDLED = Path(__file__).resolve().parent.parent / "xrarchive" / "bundled"
PER_CLASS, PAIRS, STRICTNESS = 60, 3, 0.02


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(folder) / "archive"
        pipeline.build(archive, per_class=PER_CLASS)
        pipeline.show(archive, contact_sheet=BUNDLED / "contact-sheet.png")
        strict = Path(folder) / "strict"
        built = pipeline.build(strict, per_class=PER_CLASS, search=SearchSettings(strictness=STRICTNESS))
        rows = before_after(strict)
    write_grid(BUNDLED / "before-after.png", np.concatenate(rows), columns=3 * PAIRS)
    for tally in built.tallies:
        print(
            f"{' + '.join(tally.findings):20} {tally.median_steps} steps, {tally.median_travel_deg} degrees (medians)"
        )
    return 0


def before_after(archive: Path) -> list[npt.NDArray[np.uint8]]:
    """uint8 [3 * PAIRS, H, W] of each finding, in the order of the class labels."""
    labels = read_table(archive, ["label"])["label"].to_numpy()
    ways = read_table(archive, ["seed", "draw", "steps", "travel_deg"], config="provenance").to_pydict()
    steps, travel, pixels = np.array(ways["steps"]), np.array(ways["travel_deg"]), read_pixels(archive)
    snapshot = load_snapshot(bundled_weights("generator"))
    rows = []
    for label in np.unique(labels):
        moved = np.flatnonzero((labels == label) & (steps > 0))
        chosen = moved[np.argsort(np.abs(travel[moved] - np.median(travel[moved])), kind="stable")[:PAIRS]]
        size = snapshot.settings.latent_size
        starts = torch.stack([draw_latent(ways["seed"][row], ways["draw"][row], size) for row in chosen])
        before, after = render(snapshot.generator, starts), pixels[chosen]
        change = np.clip(128 + (after.astype(np.int16) - before) / 2, 0, 255).astype(np.uint8)
        rows.append(np.stack([before, after, change], axis=1).reshape(-1, *after.shape[1:]))
    return rows


if __name__ == "__main__":
    sys.exit(main())
