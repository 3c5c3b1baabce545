"""scripts/chain: real radiographs in, a published archive loaded by its tag out."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DATA = Path(os.environ.get("XRARCHIVE_DATA", ROOT.parent / "shared" / "data"))
STAGES = ("ingest", "train generator", "train classifier", "build", "validate", "card", "check", "publish")
MOST_S = 300

if not (DATA / "nih64" / "labels.csv").is_file():
    pytest.skip(f"no real radiographs at {DATA} (XRARCHIVE_DATA)", allow_module_level=True)


@pytest.mark.slow
@pytest.mark.timeout(2 * MOST_S)
def test_the_chain_holds_on_real_radiographs(tmp_path):
    start = time.monotonic()
    done = subprocess.run(
        [ROOT / "scripts/chain", tmp_path / "work"],
        env={**os.environ, "XRARCHIVE_DATA": str(DATA), "XRARCHIVE_PYTHON": sys.executable},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for stage in STAGES:
        assert re.search(rf"^\$ xrarchive {stage} ", done.stdout, re.MULTILINE), stage
    assert "18 images of (32, 32) px with their origins, 6 of them Effusion" in done.stdout
    assert "The chain held" in done.stdout
    assert time.monotonic() - start < MOST_S


def test_without_radiographs_it_says_so(tmp_path):
    done = subprocess.run(
        [ROOT / "scripts/chain"],
        env={**os.environ, "XRARCHIVE_DATA": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 3
    assert "XRARCHIVE_DATA=DIR" in done.stderr
