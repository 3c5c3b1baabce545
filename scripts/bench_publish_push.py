"""What `datasets.push_to_hub` takes for the rows of an archive; a part of bench_publish.py.

bench_publish_push.py FOLDER REPO      # says as JSON how long it took, with its reading of the rows left out
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from datasets import Dataset, disable_progress_bars, load_dataset

from xrarchive.archive.manifest import read_manifest


def main(folder: str, repo: str) -> int:
    disable_progress_bars()
    rows: dict[str, Dataset] = {name: load_dataset(folder, name, split="train") for name in ("default", "provenance")}
    shards = len(read_manifest(Path(folder)).files) // len(rows)
    started = time.perf_counter()
    for name, dataset in rows.items():
        dataset.push_to_hub(repo, name, num_shards=shards)
    print(json.dumps({"seconds": time.perf_counter() - started, "rows": len(rows["default"])}))
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
