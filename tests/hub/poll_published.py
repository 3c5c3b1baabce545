"""A reader that never stops: loads a dataset again and again, by branch and by tag, in each of the promised ways.

    python poll_published.py REPO FILE      # until killed; a line of JSON in FILE for each read

Each line names the `revision`, what it was read `by`, and the `digest` of ids and pixels, or the `error`.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from datasets import disable_progress_bars, load_dataset
from huggingface_hub import HfApi

import xrarchive

# Of the client's own local:// store, which one process at a time may open (the publisher had it). No Hub has that lock.
STORE_IS_BUSY = "Database already open. Cannot acquire lock."


def digest(rows: Any) -> str:
    """Of ids and pixels, in order."""
    found = hashlib.sha256()
    for image_id, image in zip(rows["image_id"][:], rows["image"][:], strict=True):
        found.update(image_id.encode() + np.asarray(image).tobytes())
    return found.hexdigest()


def revisions(repo: str) -> Iterator[str]:
    """The branch and the newest tag, in turns."""
    api = HfApi()
    while True:
        yield "main"
        tags = sorted(
            api.list_repo_refs(repo, repo_type="dataset").tags, key=lambda ref: int(ref.name[1:].split(".")[0])
        )
        yield tags[-1].name


def main(repo: str, path: str) -> None:
    disable_progress_bars()
    ways: tuple[tuple[str, Callable[[str], Any]], ...] = (
        ("load_dataset", lambda revision: load_dataset(repo, revision=revision, split="train")),
        ("xrarchive.load", lambda revision: xrarchive.load(f"{repo}@{revision}", split="train")),
    )
    asked = revisions(repo)
    with open(path, "a", buffering=1) as file:  # noqa: PTH123 (a line at a time)
        for by, load in itertools.cycle(ways):
            for revision in itertools.islice(asked, 2):
                told = {"revision": revision, "by": by}
                try:
                    told["digest"] = digest(load(revision))
                except Exception as err:  # whatever else it is, it is a bad read
                    if STORE_IS_BUSY in str(err):
                        continue
                    told["error"] = f"{type(err).__name__}: {err}"
                file.write(json.dumps(told) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
