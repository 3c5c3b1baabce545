"""One process of a torchrun: `share_features.py OUT IMAGES` writes what the first process gets, and how often it asked.

The space is a toy: mean and largest pixel of an image, and the process that looked at it.
"""

import os
import sys
from pathlib import Path

import numpy as np

from xrarchive.errors import InputDataError
from xrarchive.features import Space
from xrarchive.features.sharing import open_crew


def load():
    rank = float(os.environ.get("RANK", "0"))

    def network(pixels):
        flat = pixels.reshape(len(pixels), -1)
        columns = [flat.mean(axis=1), flat.max(axis=1), np.full(len(flat), rank)]
        return np.stack(columns, axis=1).astype(np.float32)

    return network


def main(out, images):
    space = Space("toy", "a toy", 3, "f" * 64, load, 16)
    pixels = np.random.default_rng(0).integers(0, 256, (images, 8, 8), np.uint8)
    with open_crew({"toy": space}, workers=1, cache=None) as crew:
        if not crew.devices.first:
            crew.serve()
            return
        if images == 0:
            raise InputDataError("nothing to look at", fix="give some")
        np.save(out, np.stack([crew.extract("toy", pixels), crew.extract("toy", pixels[::-1])[::-1]]))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
