import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from xrarchive.features.extracting import BLOCK

SCRIPT = Path(__file__).with_name("share_features.py")
IMAGES = 4 * BLOCK + 9


def torchrun(processes, *arguments):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    return subprocess.run([*command, *map(str, arguments)], capture_output=True, text=True, check=False, timeout=300)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_each_process_looks_at_its_blocks_and_the_numbers_stay(tmp_path):
    found = {}
    for processes in (1, 2, 3):
        told = torchrun(processes, SCRIPT, tmp_path / f"{processes}.npy", IMAGES)
        assert told.returncode == 0, told.stderr
        found[processes] = np.load(tmp_path / f"{processes}.npy")
    for processes, features in found.items():
        np.testing.assert_array_equal(features[..., :2], found[1][..., :2])
        ranks = np.arange(IMAGES) // BLOCK % processes
        np.testing.assert_array_equal(features[0][:, 2], ranks)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_first_process_that_fails_lets_the_others_go(tmp_path):
    told = torchrun(2, SCRIPT, tmp_path / "none.npy", 0)
    assert told.returncode != 0
    assert "nothing to look at" in told.stderr
    assert not (tmp_path / "none.npy").exists()
