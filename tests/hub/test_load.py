"""Round trips with the real clients on both ends, each in its own process, over LFS and over Xet."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from loopback import TOKEN, serve
from tiny_archive import FINDINGS, TinyArchive, make_archive
from xet_store import XetStore

HERE = Path(__file__).parent
REPO, MASS = "tester/xrays", 2


def run(script: str, *arguments: str, environment: Mapping[str, str]) -> Any:
    """Run a script beside this file and read the JSON it tells."""
    result = subprocess.run(
        [sys.executable, str(HERE / script), *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def client_environment(url: str, home: Path, *, xet: bool) -> dict[str, str]:
    home.mkdir()
    return {
        "HF_ENDPOINT": url,
        "HF_TOKEN": TOKEN,
        "HF_HOME": str(home),
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_XET": "0" if xet else "1",
        "OMP_NUM_THREADS": "1",
        "USE_TORCH": "0",  # datasets would import it only to format rows
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
    }


@pytest.fixture(scope="module", params=["lfs", "xet"])
def round_trip(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[TinyArchive, Any]:
    """An archive, and what its user loaded after it was published and the branch moved on."""
    folder = tmp_path_factory.mktemp(request.param)
    archive = make_archive(folder)
    if request.param == "xet" and not XetStore(folder / "probe").works():
        pytest.skip("hf_xet is not installed, or its local:// stores have changed")
    with serve(folder / "hub") as (hub, url):
        environment = client_environment(url, folder / "home", xet=request.param == "xet")
        receipt = run("publish_archive.py", str(archive.folder), REPO, "1.0.0", environment=environment)
        remote = hub.dataset(REPO)
        assert remote.tags == {"v1.0.0": receipt["commit"]}
        assert (hub.calls("PUT", "/lfs/") == 0) == (request.param == "xet")
        remote.push("README.md", b"# the branch moved on")
        loaded = run("load_published.py", REPO, "v1.0.0", str(MASS), environment=environment)
    return archive, loaded


def test_pixels_and_row_order_survive(round_trip: tuple[TinyArchive, Any]) -> None:
    archive, loaded = round_trip
    assert loaded["modes"] == ["L"]
    assert loaded["ids"] == [f"syn-{row:06d}" for row in range(6)]
    assert loaded["pixels"] == [hashlib.sha256(image.tobytes()).hexdigest() for image in archive.pixels]


def test_label_names_and_their_order_survive(round_trip: tuple[TinyArchive, Any]) -> None:
    _, loaded = round_trip
    assert loaded["names"] == loaded["list_names"] == list(FINDINGS)
    assert loaded["labels"] == [0, 1, 2, 0, 1, 2]
    assert loaded["asked"] == [None, None, True, None, None, True]


def test_provenance_joins_by_image_id(round_trip: tuple[TinyArchive, Any]) -> None:
    _, loaded = round_trip
    assert loaded["provenance_ids"] == loaded["ids"]
    assert loaded["latents"] == [[float(row)] * 4 for row in range(6)]


def test_streaming_gives_the_same_rows(round_trip: tuple[TinyArchive, Any]) -> None:
    _, loaded = round_trip
    assert loaded["streamed_ids"] == loaded["ids"]
    assert loaded["streamed_pixels"] == loaded["pixels"]


def test_filters_by_the_integer_of_a_label(round_trip: tuple[TinyArchive, Any]) -> None:
    _, loaded = round_trip
    assert loaded["chosen_ids"] == ["syn-000002", "syn-000005"]
