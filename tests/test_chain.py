"""scripts/chain: real radiographs in, a published archive loaded by its tag out."""

import os
import re
import resource
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DATA = Path(os.environ.get("XRARCHIVE_DATA", ROOT.parent / "shared" / "data"))
STAGES = ("ingest", "train generator", "train classifier", "build", "validate", "card", "check", "publish")
MOST_CPU_S = 300  # five minutes on one core, whatever else the machine does

if not (DATA / "nih64" / "labels.csv").is_file():
    pytest.skip(f"no real radiographs at {DATA} (XRARCHIVE_DATA)", allow_module_level=True)


def cpu_s():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_chain_holds_on_real_radiographs(tmp_path):
    before = cpu_s()
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
    assert cpu_s() - before < MOST_CPU_S


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
