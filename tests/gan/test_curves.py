"""The curves of a run that may still be going on."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
from PIL import Image

from xrarchive.errors import InputDataError
from xrarchive.gan.curves import plot_curves, stage_starts


def tick(nimg, px=8, alpha=1.0, **more):
    return {"nimg": nimg, "px": px, "alpha": alpha, "loss_d": 1.2, "loss_g": 0.8, **more}


TICKS = [
    tick(1_000, score_real=0.3, score_fake=-0.2, images_per_s=200.0),
    tick(2_000, 16, 0.5, loss_d=None, images_per_s=100.0),
    tick(3_000, 16, images_per_s=90.0),
]
CRITIC = {"critic": 0.55, "critic_low": 0.5, "critic_high": 0.6}
KIDS = [
    {"nimg": nimg, "kid": 900 / nimg, "kid_low": 800 / nimg, "kid_high": 1_000 / nimg, **more}
    for nimg, more in ((2_000, {}), (3_000, CRITIC))
]


def write_stats(run, records, rest=""):
    (run / "stats.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records) + rest)


@pytest.mark.parametrize("records", [TICKS + KIDS, TICKS, TICKS[:1]], ids=["all", "no KID", "one tick"])
def test_curves_are_a_png_though_the_last_line_is_torn(tmp_path, records):
    write_stats(tmp_path, records, rest='{"nimg": 40')
    plot_curves(tmp_path, tmp_path / "new/curves.png")
    with Image.open(tmp_path / "new/curves.png") as image:
        assert image.format == "PNG"
        pixels = np.asarray(image.convert("L"))
    assert min(pixels.shape) > 500
    assert pixels.std() > 5
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["curves.png"]


def test_drawing_touches_no_global_state(tmp_path):
    loaded = "matplotlib.pyplot" in sys.modules
    write_stats(tmp_path, TICKS)
    plot_curves(tmp_path, tmp_path / "curves.png")
    assert ("matplotlib.pyplot" in sys.modules) == loaded


def test_stages_start_where_the_size_changes():
    assert stage_starts(TICKS) == [(1_000, 8), (2_000, 16)]


@pytest.mark.parametrize("exists", [True, False])
def test_nothing_to_draw_is_said(tmp_path, exists):
    if exists:
        write_stats(tmp_path, KIDS, rest='{"nimg": 1')
    with pytest.raises(InputDataError, match=r"Nothing to draw in .*stats\.jsonl: expected at least one tick"):
        plot_curves(tmp_path, tmp_path / "curves.png")
    assert not (tmp_path / "curves.png").exists()


def test_matplotlib_that_is_missing_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(InputDataError, match="Curves cannot be drawn") as caught:
        plot_curves(tmp_path, tmp_path / "curves.png")
    assert 'pip install "xrarchive[plots]"' in caught.value.fix
