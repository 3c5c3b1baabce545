"""Load a published version by its tag with `datasets`, and hold it against the archive it was published from.

Run as `python load_by_tag.py ARCHIVE REPO TAG FINDING`, with HF_ENDPOINT, HF_TOKEN and HF_HOME in the environment.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
from datasets import disable_progress_bars, load_dataset

from xrarchive.archive.reader import read_pixels, read_table


def main(local: Path, repo: str, tag: str, finding: str) -> None:
    disable_progress_bars()
    images = load_dataset(repo, revision=tag, split="train")
    origins = load_dataset(repo, "provenance", revision=tag, split="train")
    label = images.features["label"].str2int(finding)
    some = load_dataset(repo, revision=tag, split="train", filters=[("label", "==", label)])
    assert np.array_equal(np.stack([np.asarray(image) for image in images["image"]]), read_pixels(local))
    assert images["image_id"][:] == origins["image_id"][:] == read_table(local, ["image_id"])["image_id"].to_pylist()
    assert images["label"][:] == read_table(local, ["label"])["label"].to_pylist()
    assert set(some["label"]) == {label}
    assert len(some) == images["label"][:].count(label)
    size = images["image"][0].size
    sys.stdout.write(f"{len(images)} images of {size} px with their origins, {len(some)} of them {finding}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
    sys.stdout.flush()
    os._exit(0)  # threads of pyarrow that read ahead of a stream may abort an interpreter that ends
