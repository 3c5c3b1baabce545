"""What others use, against our releases: `hf`, huggingface_hub and datasets, each in a process of its own."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from fault_world import ADDRESSED, REPO, Transport, check_canary
from kill_publishes import client_environment, close_weights_gate
from loopback import LoopbackHub, serve
from tiny_archive import FINDINGS, TinyArchive, make_archive
from xet_store import XetStore

HERE, TAG, MASS = Path(__file__).parent, "v1.0.0", 2
pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

# `datasets` offline takes the newest it has of a repository and config: it looks at no revision, and wants the config.
LOAD = """
import json, sys, datasets, xrarchive
datasets.disable_progress_bars()
repo, tag = sys.argv[1:]
loaded = datasets.load_dataset(repo, "default", revision=tag, split="train")
verified = xrarchive.load(f"{repo}@{tag}", split="train")
print(json.dumps({"ids": loaded["image_id"][:], "verified": verified["image_id"][:]}))
"""
SNAPSHOT = """
import sys, huggingface_hub
print(huggingface_hub.snapshot_download(sys.argv[1], repo_type="dataset", revision=sys.argv[2]))
"""
VERIFY = "import sys, xrarchive; xrarchive.load('@'.join(sys.argv[1:]))"


@dataclass
class Published:
    archive: TinyArchive
    hub: LoopbackHub
    folder: Path
    environment: dict[str, str]

    def run(self, *command: str, code: int | None = 0, **changes: str) -> str:
        """Stdout of a command, with stderr if it fails; `code` is the exit code it must end with, None = 0 or 1."""
        done = subprocess.run(
            command,
            env={**self.environment, "HF_DEBUG": "0", "HF_HUB_DISABLE_UPDATE_CHECK": "1", **changes},
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        with (self.folder / "said.txt").open("a") as said:
            said.write(done.stdout + done.stderr)
        assert done.returncode in ((0, 1) if code is None else (code,)), (
            f"{command[:4]} ended with {done.returncode}: {done.stderr[-2000:]}"
        )
        return done.stdout if not code else done.stdout + done.stderr

    def python(self, script: str, *arguments: str, code: int = 0, **changes: str) -> str:
        return self.run(sys.executable, "-c", script, *arguments, code=code, **changes)

    def hf(self, *arguments: str) -> str:
        return self.run(str(Path(sys.executable).parent / "hf"), *arguments)

    def xrarchive(self, *arguments: str, code: int | None = 0, **changes: str) -> str:
        return self.run(sys.executable, "-m", "xrarchive", *arguments, code=code, **changes)


@pytest.fixture(scope="module", params=["lfs", "xet"])
def published(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Published]:
    """Version 1.0.0 of a tiny archive, published by the command, as a user would."""
    folder, transport = tmp_path_factory.mktemp(request.param), request.param
    if transport == "xet" and not XetStore(folder / "probe").works():
        pytest.skip("hf_xet is not installed, or its local:// stores have changed")
    archive = make_archive(folder / "made")
    close_weights_gate(archive)
    with serve(folder / "hub") as (hub, url):
        found = Published(archive, hub, folder, environment_of(url, folder, transport))
        receipt = json.loads(found.xrarchive("publish", str(archive.folder), REPO, "--yes", "--json"))
        assert hub.dataset(REPO).tags == {TAG: receipt["commit"]}
        assert bool(hub.calls("PUT", "/lfs/")) == (transport == "lfs")
        yield found
    check_canary(folder)


def environment_of(url: str, folder: Path, transport: Transport) -> dict[str, str]:
    return client_environment(url, folder / "home", transport)


def assert_is_the_archive(folder: Path, archive: TinyArchive) -> None:
    """Every file as published, by its own SHA256SUMS; and every one that publishing does not fill in as it was."""
    for digest, name in (line.split("  ", 1) for line in (folder / "SHA256SUMS").read_text().splitlines()):
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest
        assert name in ADDRESSED or (folder / name).read_bytes() == (archive.folder / name).read_bytes()


def test_hf_download_and_verify(published: Published) -> None:
    asked = (REPO, "--repo-type", "dataset", "--revision", TAG)
    local = published.folder / "downloaded"
    published.hf("download", *asked, "--local-dir", str(local))
    assert_is_the_archive(local, published.archive)
    published.hf("download", *asked)
    published.hf("cache", "verify", *asked, "--fail-on-missing-files")
    published.hf("cache", "verify", *asked, "--local-dir", str(local), "--fail-on-missing-files")


def test_hf_lists_the_tag(published: Published) -> None:
    assert TAG in published.hf("repos", "tag", "list", REPO, "--repo-type", "dataset")


def test_a_snapshot_is_a_sound_archive(published: Published) -> None:
    snapshot = Path(published.python(SNAPSHOT, REPO, TAG).strip())
    assert snapshot.name == published.hub.dataset(REPO).tags[TAG]
    assert_is_the_archive(snapshot, published.archive)
    told = json.loads(published.xrarchive("check", str(snapshot), "--read-data", "--decode", "--json"))
    assert told["problems"] == []


@pytest.mark.parametrize("revision", ["main", TAG])
def test_datasets_loads_branch_and_tag_in_every_promised_way(published: Published, revision: str) -> None:
    script = str(HERE / "load_published.py")
    told = json.loads(published.run(sys.executable, script, REPO, revision, str(MASS)))
    assert told["ids"] == told["provenance_ids"] == told["streamed_ids"] == [f"syn-{row:06d}" for row in range(6)]
    assert told["pixels"] == told["streamed_pixels"]
    assert told["pixels"] == [hashlib.sha256(image.tobytes()).hexdigest() for image in published.archive.pixels]
    assert told["names"] == list(FINDINGS)
    assert told["chosen_ids"] == ["syn-000002", "syn-000005"]


def test_what_was_loaded_once_loads_offline(published: Published) -> None:
    online = json.loads(published.python(LOAD, REPO, TAG))
    assert json.loads(published.python(LOAD, REPO, TAG, HF_HUB_OFFLINE="1")) == online
    published.hub.log.clear()
    assert json.loads(published.python(LOAD, REPO, TAG, HF_HUB_OFFLINE="1")) == online
    assert published.hub.log == []


def test_what_was_never_loaded_says_so_offline(published: Published) -> None:
    empty = {"HF_HOME": str(published.folder / "empty"), "HF_HUB_OFFLINE": "1"}
    said = published.xrarchive("diff", f"{REPO}@{TAG}", str(published.archive.folder), code=7, **empty)
    assert "HF_HUB_OFFLINE" in said
    assert "Fix:" in said
    assert "Traceback" not in said
    assert "xrarchive.errors.RemoteError" in published.python(VERIFY, REPO, TAG, code=1, **empty)


def test_publishing_offline_says_so(published: Published) -> None:
    said = published.xrarchive(
        "publish", str(published.archive.folder), REPO, "--version", "1.0.1", "--yes", code=7, HF_HUB_OFFLINE="1"
    )
    assert "Unset HF_HUB_OFFLINE" in said
