"""What a user gets from the Hub: loads a published archive with `datasets` in every promised way, tells it as JSON.

Run as `python load_published.py REPO TAG LABEL` with HF_ENDPOINT, HF_TOKEN and a fresh HF_HOME in the environment.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys

import numpy as np
from datasets import disable_progress_bars, load_dataset


def main(repo: str, tag: str, label: int) -> None:
    disable_progress_bars()
    rows = load_dataset(repo, revision=tag, split="train")
    provenance = load_dataset(repo, "provenance", revision=tag, split="train")
    chosen = load_dataset(repo, revision=tag, split="train", filters=[("label", "==", label)])
    streamed = load_dataset(repo, revision=tag, split="train", streaming=True)
    told = {
        "ids": rows["image_id"][:],
        "labels": rows["label"][:],
        "names": rows.features["label"].names,
        "list_names": rows.features["findings"].feature.names,
        "modes": sorted({image.mode for image in rows["image"]}),
        "pixels": [hashlib.sha256(np.asarray(image).tobytes()).hexdigest() for image in rows["image"]],
        "asked": rows["Mass"][:],
        "provenance_ids": provenance["image_id"][:],
        "latents": provenance["latent"][:],
        "chosen_ids": chosen["image_id"][:],
        "streamed_ids": [row["image_id"] for row in streamed],
        "streamed_pixels": [hashlib.sha256(np.asarray(row["image"]).tobytes()).hexdigest() for row in streamed],
    }
    sys.stdout.write(json.dumps(told))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
    sys.stdout.flush()
    os._exit(0)  # threads of pyarrow that read ahead of a stream may abort an interpreter that ends
