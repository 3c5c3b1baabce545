"""Features of radiographs: pixels in, one row of numbers per image out. Left of the waist.

    spaces       what a feature space is, and all of them by name
    imagenet, inception, dino, densenet     one network each, with where its weights come from
    extracting   pixels -> features, block by block, on all cores
    cache        features that were computed before
    sharing      the same under torchrun, each process its blocks

Figures of two networks, or of one network with other weights or another input size, cannot be compared: a space has a
name that says the size and a fingerprint that says the weights, and every report carries both.
"""

from xrarchive.features.extracting import extract_features
from xrarchive.features.imagenet import (
    FEATURE_COUNT,
    FEATURE_SPACE_NAME,
    IMAGENET,
    imagenet_features,
    imagenet_fingerprint,
)
from xrarchive.features.space import Space
from xrarchive.features.spaces import judge_space, open_space

__all__ = [
    "FEATURE_COUNT",
    "FEATURE_SPACE_NAME",
    "IMAGENET",
    "Space",
    "extract_features",
    "imagenet_features",
    "imagenet_fingerprint",
    "judge_space",
    "open_space",
]
