"""All feature spaces by name: `imagenet` and `judge` at once, the others where their weights are at hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType

import numpy as np

from xrarchive.classifier.classifier import SCORING_BATCH, Classifier
from xrarchive.errors import SettingsError
from xrarchive.features.densenet import XRV, xrv_space
from xrarchive.features.dino import DINOV2, RAD_DINO, dino_space
from xrarchive.features.imagenet import IMAGENET, IMAGENET_224, OWN_PX, imagenet_space
from xrarchive.features.inception import INCEPTION, inception_space
from xrarchive.features.space import Space

JUDGE = "judge"

# Weights, None = where they usually are -> the space. `imagenet` has its weights with it, `judge` is a classifier.
WITH_WEIGHTS: Mapping[str, Callable[[Path | None], Space]] = MappingProxyType(
    {
        INCEPTION: inception_space,
        DINOV2: partial(dino_space, DINOV2),
        RAD_DINO: partial(dino_space, RAD_DINO),
        XRV: xrv_space,
    }
)
WITHOUT_WEIGHTS: Mapping[str, Callable[[], Space]] = MappingProxyType(
    {IMAGENET: imagenet_space, IMAGENET_224: partial(imagenet_space, OWN_PX)}
)
NAMES = (*WITHOUT_WEIGHTS, JUDGE, *WITH_WEIGHTS)


def open_space(wanted: str, *, judge: Classifier) -> Space:
    """A space by its name, or ``NAME=PATH`` where its weights are elsewhere than usual.

    Args:
        wanted: Of `NAMES`.
        judge: The classifier behind the space `judge`.

    Raises:
        SettingsError: If there is no such space, or it takes no path.
        InputDataError: If its weights are missing or are not what they must be; says how to get them.
    """
    name, _, given = wanted.partition("=")
    if name not in NAMES:
        raise SettingsError(f"There is no feature space {name!r}.", fix=f"Use some of {', '.join(NAMES)}.")
    if name in WITH_WEIGHTS:
        return WITH_WEIGHTS[name](Path(given).expanduser() if given else None)
    if given:
        raise SettingsError(f"The feature space {name!r} has its weights with it.", fix=f"Leave ={given} out.")
    return judge_space(judge) if name == JUDGE else WITHOUT_WEIGHTS[name]()


def judge_space(judge: Classifier) -> Space:
    """The penultimate features of a classifier that had no part in making the images."""
    dim = judge.features(np.zeros((1, judge.size_px, judge.size_px), np.uint8)).shape[1]
    title = f"The judge's last layer but one, {judge.input_px} px input, {dim:,}-d"
    return Space(JUDGE, title, dim, judge.sha256, lambda: judge.features, SCORING_BATCH)
