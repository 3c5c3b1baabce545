"""Planted copies of real films are found among generated images; held-out films are not taken for copies."""

import importlib.util
import os
import sys
from pathlib import Path

import pytest

from xrarchive.radiographs import ingest, open_set
from xrarchive.validation.privacy import COPIES

ROOT = Path(__file__).parents[3]
MEDNIST = Path(os.environ.get("XRARCHIVE_DATA", ROOT.parent / "shared" / "data")) / "mednist"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(not MEDNIST.is_dir(), reason=f"no radiographs at {MEDNIST}"),
]


@pytest.fixture
def bench(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    spec = importlib.util.spec_from_file_location("bench_privacy", ROOT / "scripts" / "bench_privacy.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    sys.modules.pop("bench_validate_privacy", None)


def test_planted_copies_are_found(bench, tmp_path):
    ingest(MEDNIST, tmp_path / "set", size_px=64, terms=("mednist",))
    found = bench.bench_copies(open_set(tmp_path / "set"), planted=100, images=300)
    assert set(found["recall"]) == set(COPIES)
    assert found["recall"]["exact"] >= bench.RECALL_EXACT
    assert min(found["recall"].values()) >= bench.RECALL
    assert found["held-out real films"] <= bench.FALSE_POSITIVES
    assert found["generated images"] <= bench.FALSE_POSITIVES
