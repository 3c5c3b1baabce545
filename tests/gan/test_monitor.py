"""What a training shows while it runs: ticks, grids, the best KID, and warnings that mean something."""

from __future__ import annotations

import dataclasses
import itertools
import json
import logging
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from xrarchive.errors import InputDataError
from xrarchive.gan import health, monitor
from xrarchive.gan.health import duplicate_rate, feature_variance, find_troubles
from xrarchive.gan.memory import Memory
from xrarchive.gan.monitor import Monitor, Tick, kept_ticks, peak_memory_bytes
from xrarchive.gan.realism import Kid
from xrarchive.gan.stats import best_measurement, measurements, read_stats, ticks

TOTAL_NIMG = 64_000
EACH_NIMG = 1_000
Pixels = npt.NDArray[np.uint8]


def films(count: int = 16, size_px: int = 16, seed: int = 0) -> Pixels:
    """Random crops of a smooth random field with noise on it: they differ as films do."""
    rng = np.random.default_rng(seed)
    field = rng.normal(size=(40, 40)).repeat(8, axis=0).repeat(8, axis=1)
    tops, lefts = rng.integers(0, 320 - size_px, (2, count))
    crops = [field[top : top + size_px, left : left + size_px] for top, left in zip(tops, lefts, strict=True)]
    noisy = 128 + 50 * np.stack(crops) + 10 * rng.normal(size=(count, size_px, size_px))
    return np.clip(noisy, 0, 255).astype(np.uint8)


FILMS = films()
CONSTANT = np.full((16, 16, 16), 90, np.uint8)
VARIANCE = feature_variance(films(64, seed=1))


def tick_at(nimg: int, **changes: object) -> Tick:
    """A healthy tick."""
    tick = Tick(
        nimg=nimg, total_nimg=TOTAL_NIMG, steps=nimg // 8, px=8 if nimg < 8 * EACH_NIMG else 16, alpha=1.0, batch=8,
        loss_d=1.2, loss_g=0.8, score_real=0.3, score_fake=-0.4, seconds=10.0, memory_bytes=2_000_000_000,
    )  # fmt: skip
    return dataclasses.replace(tick, **changes)


def kid_of(value: float) -> Kid:
    return Kid(value, value - 0.01, value + 0.01, 100, 200)


@pytest.fixture
def start(tmp_path: Path) -> Callable[..., Monitor]:
    """A monitor of `tmp_path/<name>` from `nimg` on; its clock takes 10 s between looks."""

    def make(name: str = "run", nimg: int = 0, **options: object) -> Monitor:
        (tmp_path / name).mkdir(exist_ok=True)
        clock = itertools.count(0.0, 10.0)
        return Monitor(
            tmp_path / name, total_nimg=TOTAL_NIMG, nimg=nimg, clock=lambda: next(clock),
            **{"radiograph_variance": VARIANCE, **options},
        )  # fmt: skip

    return make


def grids(run: Path) -> list[str]:
    return sorted(path.name for path in (run / "grids").glob("*"))


def files(run: Path) -> dict[str, bytes]:
    """What does not depend on when a run was stopped."""
    kept = [path for path in sorted(run.rglob("*")) if path.is_file() and not path.name.startswith("log")]
    return {path.relative_to(run).as_posix(): path.read_bytes() for path in kept}


# A tick


def test_a_tick_is_a_line_a_log_line_and_a_grid(start, tmp_path, caplog):
    with caplog.at_level(logging.INFO):
        assert start().tick(tick_at(4_000, grad_norm_d=2.5), FILMS[:6]) == []
    (record,) = read_stats(tmp_path / "run")
    assert (record["nimg"], record["px"], record["loss_d"], record["grad_norm_d"]) == (4_000, 8, 1.2, 2.5)
    assert record["images_per_s"] == 400
    assert record["left_s"] == pytest.approx(60_000 / 400)
    assert "grad_norm_g" not in record
    line = (
        "8 px, alpha 1.00 | 4,000 of 64,000 images (6.2 %) | 400 images/s, 0:02:30 left | D 1.2, G 0.8 | "
        "scores 0.3 radiographs, -0.4 images | 2.00 GB"
    )
    assert (tmp_path / "run/log.txt").read_text().endswith(f"Z  {line}\n")
    assert line in caplog.text
    with Image.open(tmp_path / "run/grids/nimg-000004000.png") as image:
        assert image.size == (3 * 18 + 2, 2 * 18 + 2)


def test_grids_of_large_images_are_made_smaller(start, tmp_path):
    start().tick(tick_at(1_000), FILMS[:4].repeat(32, axis=1).repeat(32, axis=2))
    with Image.open(tmp_path / "run/grids/nimg-000001000.png") as image:
        assert image.size == (2 * 258 + 2, 2 * 258 + 2)


def test_numbers_that_are_none_leave_json(start, tmp_path):
    start().tick(tick_at(1_000, loss_d=float("nan"), score_real=float("inf"), seconds=0.0), FILMS)
    (record,) = read_stats(tmp_path / "run")
    assert (record["loss_d"], record["score_real"]) == (None, None)
    assert "NaN" not in (tmp_path / "run/stats.jsonl").read_text()


def test_the_time_left_follows_the_recent_speed(start, tmp_path):
    watch = start()
    for nimg in range(100, 1_100, 100):
        watch.tick(tick_at(nimg), FILMS)
    for nimg in range(2_000, 14_000, 1_000):
        watch.tick(tick_at(nimg), FILMS)
    assert read_stats(tmp_path / "run")[-1]["left_s"] == pytest.approx((TOTAL_NIMG - 13_000) / 100)


def test_files_stay_bounded(start, tmp_path, monkeypatch):
    monkeypatch.setattr(monitor, "LOG_LIMIT_BYTES", 1_000)
    watch = start(keep_grids=5)
    run = tmp_path / "run"
    (run / "grids").mkdir()
    (run / "grids/stage-0008px.png").touch()
    for nimg in range(EACH_NIMG, 40 * EACH_NIMG, EACH_NIMG):
        watch.tick(tick_at(nimg), FILMS)
        assert len(grids(run)) <= 6
    assert grids(run) == [*(f"nimg-{nimg:09d}.png" for nimg in (1_000, 17_000, 33_000, 39_000)), "stage-0008px.png"]
    assert max(len(line) for line in (run / "stats.jsonl").read_text().splitlines()) < 500
    assert {path.name for path in run.glob("log*")} == {"log.txt", "log.1.txt"}
    assert all(path.stat().st_size < 1_300 for path in run.glob("log*"))


@pytest.mark.parametrize("count", [2, 3, 20])
def test_kept_ticks_are_few_spread_and_never_wanted_back(count):
    before: set[int] = set()
    for passed in range(1, 300):
        kept = set(kept_ticks(list(range(passed)), count))
        assert len(kept) <= count
        assert {0, passed - 1} <= kept or count == 2
        assert kept - {passed - 1} <= before
        before = kept


def test_a_monitor_of_less_than_two_grids_is_refused(start):
    with pytest.raises(ValueError, match="at least 2, got 1"):
        start(keep_grids=1)


def test_memory_is_counted_in_bytes():
    assert 10_000_000 < peak_memory_bytes() < 1_000_000_000_000


# Going on


def run_to(watch: Monitor, first: int, last: int) -> None:
    """Ticks and measurements as a training makes them: a function of nimg."""
    for nimg in range(first + EACH_NIMG, last + EACH_NIMG, EACH_NIMG):
        watch.tick(tick_at(nimg), films(4, seed=nimg))
        if nimg % 5_000 == 0:
            watch.measured(nimg, kid_of(abs(nimg - 22_000) / 1e5))


@pytest.mark.parametrize(("stopped", "resumed"), [(9_000, 0), (21_000, 20_000), (24_000, 18_000), (26_000, 26_000)])
def test_a_resumed_run_ends_with_the_files_of_a_straight_one(start, tmp_path, stopped, resumed):
    run_to(start("straight", keep_grids=4), 0, 30_000)
    run_to(start(keep_grids=4), 0, stopped)
    with (tmp_path / "run/stats.jsonl").open("a") as stream:
        stream.write('{"nimg": 20')
    run_to(start(keep_grids=4, nimg=resumed), resumed, 30_000)
    # The time left is told from when the process began.
    for run in (tmp_path / "straight", tmp_path / "run"):
        text = "".join(json.dumps({**record, "left_s": None}) for record in read_stats(run))
        (run / "stats.jsonl").write_text(text)
    assert files(tmp_path / "run") == files(tmp_path / "straight")
    assert json.loads((tmp_path / "run/best.json").read_text()) == {"kid": 0.02, "nimg": 20_000}


def test_what_lies_beyond_the_point_of_resumption_goes(start, tmp_path):
    run_to(start(), 0, 6_000)
    watch = start(nimg=2_000)
    run = tmp_path / "run"
    assert [record["nimg"] for record in read_stats(run)] == [1_000, 2_000]
    assert grids(run) == ["nimg-000001000.png", "nimg-000002000.png"]
    assert not (run / "best.json").exists()
    assert watch.best is None
    assert "goes on at 2,000 of 64,000 images" in (run / "log.txt").read_text()


def test_a_training_that_goes_back_has_one_course(start, tmp_path):
    watch = start()
    run_to(watch, 0, 6_000)
    watch.rewind(4_000)
    assert watch.best is None
    watch.tick(tick_at(5_000), FILMS)
    records = read_stats(tmp_path / "run")
    assert [record["nimg"] for record in records] == [1_000, 2_000, 3_000, 4_000, 5_000]
    assert records[-1]["images_per_s"] == 100
    assert grids(tmp_path / "run")[-1] == "nimg-000005000.png"


def test_a_damaged_line_is_passed_over(start, tmp_path):
    start().tick(tick_at(1_000), FILMS)
    path = tmp_path / "run/stats.jsonl"
    path.write_bytes(b'{"nimg": 1{"nimg": 2}\n[3]\n\xff\n{"px": 4}\n' + path.read_bytes())
    assert [record["nimg"] for record in read_stats(tmp_path / "run")] == [1_000]
    start(nimg=1_000)
    assert len(path.read_text().splitlines()) == 1


# The best KID


def test_the_lowest_kid_is_the_best_and_the_earliest_of_equal_ones(start, tmp_path):
    watch = start()
    figures = [(1_000, 0.5), (2_000, 0.3), (3_000, 0.4), (4_000, 0.3), (5_000, -0.001)]
    assert [watch.measured(nimg, kid_of(value)) for nimg, value in figures] == [True, True, False, False, True]
    assert json.loads((tmp_path / "run/best.json").read_text()) == {"nimg": 5_000, "kid": -0.001}
    first = read_stats(tmp_path / "run")[0]
    assert first == {"nimg": 1_000, "kid": 0.5, "kid_low": 0.49, "kid_high": 0.51, "n": 100, "n_real": 200}
    assert "KID 0.3 (0.29 to 0.31, 100 images) at 4,000: best 0.3 at 2,000" in (tmp_path / "run/log.txt").read_text()


@pytest.mark.parametrize(
    ("high", "level", "words"), [(0.58, logging.INFO, "told from"), (0.64, logging.WARNING, "keep these")]
)
def test_what_the_discriminator_knows_by_heart_is_told(start, tmp_path, caplog, high, level, words):
    caplog.set_level(logging.INFO)
    start().measured(1_000, kid_of(0.5), Memory(0.55, 0.51, high, 300))
    (record,) = read_stats(tmp_path / "run")
    assert {name: record[name] for name in ("critic", "critic_low", "critic_high")} == {
        "critic": 0.55, "critic_low": 0.51, "critic_high": high,
    }  # fmt: skip
    assert caplog.records[-1].levelno == level
    assert "AUROC 0.550 (0.510 to" in caplog.records[-1].message
    assert words in caplog.records[-1].message


def test_measuring_again_replaces(start, tmp_path):
    watch = start()
    watch.tick(tick_at(1_000), FILMS)
    assert watch.measured(1_000, kid_of(0.5))
    again = start(nimg=1_000)
    assert again.measured(1_000, kid_of(0.5))
    assert again.measured(2_000, kid_of(0.4))
    assert not again.measured(2_000, kid_of(0.6))
    records = read_stats(tmp_path / "run")
    assert [(record["nimg"], record["kid"]) for record in measurements(records)] == [(1_000, 0.5), (2_000, 0.6)]
    assert len(ticks(records)) == 1
    assert best_measurement(records) == again.best == records[1]


def test_no_figure_is_no_best(start, tmp_path):
    watch = start()
    assert not watch.measured(1_000, Kid(float("nan"), float("nan"), float("nan"), 10, 10))
    assert watch.best is None
    assert not (tmp_path / "run/best.json").exists()


# Health


def test_films_differ_and_copies_are_found():
    assert duplicate_rate(FILMS) == 0
    assert duplicate_rate(CONSTANT) == 1
    assert feature_variance(CONSTANT) == 0
    few = FILMS[np.arange(16) % 3]
    assert duplicate_rate(few) == 1
    assert duplicate_rate(np.concatenate([FILMS[:12], FILMS[:4]])) == 0.5
    assert duplicate_rate(FILMS[:2]) == 0


def test_images_are_compared_alike_at_every_size():
    large = films(32, 64)
    halved = large.reshape(32, 32, 2, 32, 2).mean(axis=(2, 4)).astype(np.uint8)
    assert feature_variance(halved) == pytest.approx(feature_variance(large), rel=0.02)
    assert feature_variance(large[:, ::16, ::16]) > 0


def test_images_of_another_kind_are_refused():
    with pytest.raises(ValueError, match="uint8"):
        feature_variance(FILMS.astype(np.float32))
    with pytest.raises(ValueError, match="divide the side of the images, 24"):
        feature_variance(np.zeros((2, 24, 24), np.uint8))


def test_a_healthy_training_is_not_warned_of(start):
    watch = start()
    for nimg in range(1_000, 30_000, 1_000):
        assert watch.tick(tick_at(nimg), films(16, seed=nimg)) == []


def test_a_constant_generator_is_found_at_the_first_check_after_warm_up(start):
    watch = start()
    for nimg in range(1_000, 8_000, 1_000):
        assert watch.tick(tick_at(nimg), CONSTANT) == []
    collapse, duplicates = watch.tick(tick_at(8_000), CONSTANT)
    assert "collapse: the images vary 0.0% as much as radiographs, expected at least 5%" in collapse
    assert "100% of images of different latents" in duplicates


def test_a_run_of_one_stage_is_checked_once_a_fifth_is_done(start):
    watch = start()
    warned = [bool(watch.tick(tick_at(nimg, px=16), CONSTANT)) for nimg in range(1_000, 20_000, 1_000)]
    assert warned == [nimg >= TOTAL_NIMG / 5 for nimg in range(1_000, 20_000, 1_000)]


def test_a_collapse_in_the_first_stage_is_found_once_images_did_differ(start):
    watch = start()
    assert watch.tick(tick_at(1_000), FILMS) == []
    assert watch.tick(tick_at(2_000), CONSTANT)[0].startswith("collapse")


def test_a_few_images_again_and_again_are_found(start):
    watch = start()
    watch.tick(tick_at(1_000), FILMS)
    (text,) = watch.tick(tick_at(9_000), FILMS[np.arange(16) % 4])
    assert text.startswith("duplicates: 100%")


def test_without_radiographs_to_compare_with_nothing_is_called_a_collapse(start):
    watch = start(radiograph_variance=None)
    watch.tick(tick_at(1_000), CONSTANT)
    assert [text.partition(":")[0] for text in watch.tick(tick_at(9_000), CONSTANT)] == ["duplicates"]


def troubles(tick: dict, past: list[dict], **changes: object) -> list[str]:
    healthy = {"nimg": 1, "px": 8, "variance": VARIANCE, "duplicates": 0.0}
    options = {"total_nimg": TOTAL_NIMG, "variance": VARIANCE, "saturated_gap": health.SATURATED_GAP, **changes}
    return list(find_troubles({**healthy, **tick}, [{**healthy, **record} for record in past], **options))


@pytest.mark.parametrize(
    ("name", "usual", "now", "found"),
    [
        ("loss_g", 1.0, 20.0, False),
        ("loss_g", 1.0, 60.0, True),
        ("loss_d", -40.0, -120.0, False),  # a critic's
        ("loss_d", -200.0, -900.0, False),
        ("loss_d", -200.0, -1_200.0, True),
        ("score_real", 3.0, -80.0, True),
        ("score_fake", 3.0, None, True),
    ],
)
def test_divergence(name, usual, now, found):
    assert troubles({name: now}, [{name: usual}] * 10) == (["divergence"] if found else [])


def test_the_first_tick_may_have_large_losses():
    assert troubles({"loss_g": 300.0}, []) == []
    assert troubles({"loss_g": 3_000.0}, []) == ["divergence"]


def test_a_discriminator_that_wins_for_long():
    wins = {"score_real": 7.0, "score_fake": -6.0}
    assert troubles(wins, [wins] * 4) == ["saturation"]
    assert troubles(wins, [wins] * 3) == []
    assert troubles(wins, [wins, {"score_real": 1.0}, wins, wins, wins]) == []
    assert troubles(wins, [wins] * 9, saturated_gap=None) == []


def test_a_warning_is_said_once_and_recorded_as_long_as_it_lasts(start, tmp_path, caplog):
    watch = start()
    watch.tick(tick_at(1_000), FILMS)
    for nimg in (9_000, 10_000):
        assert len(watch.tick(tick_at(nimg), CONSTANT)) == 2
    watch = start(nimg=10_000)
    watch.tick(tick_at(11_000), CONSTANT)
    assert sum(record.levelno == logging.WARNING for record in caplog.records) == 2
    log = (tmp_path / "run/log.txt").read_text()
    assert log.count("WARNING collapse") == 1
    assert log.count("| collapse, duplicates\n") == 3
    assert [len(record.get("warnings", [])) for record in read_stats(tmp_path / "run")] == [0, 2, 2, 2]


# TensorBoard


def test_tensorboard_is_written_on_request(start, tmp_path):
    watch = start(tensorboard=True)
    watch.tick(tick_at(1_000), FILMS)
    watch.measured(1_000, kid_of(0.5), Memory(0.5, 0.4, 0.6, 20))
    watch.close()
    (events,) = (tmp_path / "run/tensorboard").iterdir()
    assert all(name in events.read_bytes() for name in (b"loss_d", b"kid", b"critic", b"images"))


def test_tensorboard_that_is_missing_is_said_before_anything_is_written(start, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(InputDataError, match="TensorBoard cannot be written") as caught:
        start(tensorboard=True)
    assert 'pip install "xrarchive[tensorboard]"' in caught.value.fix
    assert not list((tmp_path / "run").iterdir())
    start().close()
