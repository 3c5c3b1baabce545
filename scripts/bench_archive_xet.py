"""What a new version of an archive sends again, counted by hf_xet against a local store; see bench_archive.py."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from xrarchive.archive.manifest import read_manifest

Json = dict[str, Any]


def measure_resent(work: Path, versions: dict[str, Path], base: Path) -> Json:
    """Bytes that each of some second versions sends, when the first is there already.

    Args:
        work: For the stores.
        versions: Archives that `base` became, by a name.
        base: The first version.

    Returns:
        By name `share` of the bytes of the version's shards, `new_bytes`, `total_bytes`, and the share `by_config`.
    """
    store = work / "xet"
    shutil.rmtree(store, ignore_errors=True)
    upload(store, _shards(base))
    found = {}
    for name, folder in versions.items():
        own = work / f"xet-{name}"
        shutil.rmtree(own, ignore_errors=True)
        shutil.copytree(store, own)  # so that no version finds what another has sent
        by_config, new, total = {}, 0, 0
        for config in ("data", "provenance"):
            sent = upload(own, [path for path in _shards(folder) if path.parent.name == config])
            by_config[config] = sent["new_bytes"] / sent["total_bytes"]
            new, total = new + sent["new_bytes"], total + sent["total_bytes"]
        found[name] = {"share": new / total, "new_bytes": new, "total_bytes": total, "by_config": by_config}
        shutil.rmtree(own)
        shares = ", ".join(f"{config} {100 * share:.1f} %" for config, share in by_config.items())
        words = f"{100 * new / total:.1f} % sent again, {new / 1e6:,.1f} of {total / 1e6:,.1f} MB ({shares})"
        print(f"{name.replace('_', ' ')}: {words}", flush=True)
    shutil.rmtree(store)
    return found


def upload(store: Path, paths: list[Path]) -> Json:
    """Upload files to a store and say how many of their bytes were not there."""
    import hf_xet  # type: ignore[import-untyped]

    store.mkdir(parents=True, exist_ok=True)
    commit = hf_xet.XetSession().new_upload_commit(endpoint=f"local://{store.resolve()}")
    for path in paths:
        commit.start_upload_file(str(path), sha256=hf_xet.COMPUTE_SHA256)
    metrics = commit.wait_to_finish().dedup_metrics
    return {
        "total_bytes": metrics.total_bytes,
        "new_bytes": metrics.new_bytes,
        "stored_bytes": metrics.xorb_bytes_uploaded,
    }


def _shards(folder: Path) -> list[Path]:
    return [folder / name for name in read_manifest(folder).files]
