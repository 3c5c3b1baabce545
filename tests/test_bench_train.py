"""scripts/bench_train.py: its helpers, and that it says what it does; the bench itself takes an hour."""

import ast
import importlib.util
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from xrarchive.gan.settings import GeneratorSettings
from xrarchive.records import Status

SCRIPTS = Path(__file__).resolve().parent.parent / "scripts"


@pytest.fixture(scope="module")
def bench():
    spec = importlib.util.spec_from_file_location("bench_train", SCRIPTS / "bench_train.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["bench_train"] = module  # dataclasses look themselves up there
    spec.loader.exec_module(module)
    yield module
    del sys.modules["bench_train"]


def test_it_says_how_it_is_used():
    script = SCRIPTS / "bench_train.py"
    done = subprocess.run([sys.executable, script, "--help"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert os.access(script, os.X_OK)
    for option in ("--quick", "--minutes", "--data", "--work"):
        assert option in done.stdout


def test_the_peer_knows_nothing_of_ours():
    tree = ast.parse((SCRIPTS / "bench_train_peer.py").read_text())
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert not [name for name in imported if name.startswith("xrarchive")]


def test_ratios_are_taken_turn_by_turn(bench):
    found = bench.spread(bench.ratios([10.0, 12.0, 9.0], [5.0, 3.0, 9.0]))
    assert found == {"min": 1.0, "median": 2.0, "max": 4.0}
    assert bench.told(found) == "2 (1 to 4)"
    with pytest.raises(ValueError, match="longer"):
        bench.ratios([1.0], [1.0, 2.0])


@pytest.mark.parametrize(("px", "widths"), [(64, [512] * 5), (256, [512] * 5 + [256, 128])])
def test_widths_are_the_peers(bench, px, widths):
    settings = bench.peer_settings(px, 512)
    assert bench.peer_widths(settings) == widths
    assert bench.peer_widths(settings) == [min(512, 16_384 // 2**stage) for stage in range(1, len(widths) + 1)]


def test_convolutions_are_counted_and_timed(bench, capsys, monkeypatch):
    monkeypatch.setattr(bench, "auto_dtype", lambda: torch.float32)
    settings = GeneratorSettings(resolution=16, latent_size=4, width_max=4, batch=4, r1_interval=2)
    found = bench.conv_share(16, 2, settings)
    assert 0 < found["conv_share_64"] < 1
    assert "best in" in capsys.readouterr().out


def test_a_recorded_call_runs_again_in_any_layout(bench):
    with bench.Recorded() as recorded:
        image = torch.randn(2, 3, 8, 8, requires_grad=True)
        torch.nn.functional.conv2d(image, torch.randn(4, 3, 3, 3, requires_grad=True)).sum().backward()
        torch.nn.functional.conv2d(image, torch.randn(4, 3, 3, 3))
    assert sorted(recorded.calls.values()) == [1, 2]
    for call in recorded.calls:
        seconds, dtype, layout = bench.best_seconds(call)
        assert 0 < seconds < 1
        assert (dtype, layout) in {("float32", "contiguous_format"), ("float32", "channels_last")}
        assert "2x3x8x8" in bench.describe(call, dtype, layout)


def test_a_training_that_is_late_is_asked_to_stop_once(bench, tmp_path, monkeypatch):
    asked, now = [], [100.0]
    monkeypatch.setattr(bench.signal, "raise_signal", asked.append)
    monkeypatch.setattr(bench.time, "monotonic", lambda: now[0])
    clock = bench.Clock(tmp_path / "clock.json", 1000, 60.0)
    for now[0] in (140.0, 150.0):
        clock.tell(Status(1, 2, "images"))
    assert clock.spent() == 50.0
    now[0] = 200.0
    resumed = bench.Clock(tmp_path / "clock.json", 5000, 60.0)
    assert resumed.nimg == 1000
    for now[0] in (209.0, 210.5, 230.0):
        resumed.tell(Status(1, 2, "images"))
    assert asked == [signal.SIGUSR1]
    assert json.loads((tmp_path / "clock.json").read_text())["nimg"] == 1000


def test_results_are_kept_by_what_they_depend_on(bench):
    assert bench.cache_key("a", 1.5) == bench.cache_key("a", 1.5)
    assert bench.cache_key("a", 1.5) != bench.cache_key("a", 2.5)
    assert len(bench.sources()) == 64
