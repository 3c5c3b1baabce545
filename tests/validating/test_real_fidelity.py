"""The instrument on real films: what cannot be told apart must pass, what is worse must be seen.

Skipped without the films. On either side stands one film of each patient: a half in which one patient has fifty films
is another population than the other half, and told apart for good reason.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from xrarchive.bootstrap import disjoint_halves, group_codes, make_rng
from xrarchive.bundled import weights_path
from xrarchive.classifier.classifier import load_classifier
from xrarchive.features import extract_features, open_space
from xrarchive.radiographs import ingest, open_set
from xrarchive.validation.degrading import blur_slightly, degrade
from xrarchive.validation.fidelity import FRECHET, KERNEL, measure_fidelity
from xrarchive.validation.instruments import BAR, spearman

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]
DATA = Path(os.environ.get("XRARCHIVE_DATA", Path(__file__).resolve().parents[2].parent / "shared" / "data"))
DRAWS = 10


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    if not (DATA / "nih64" / "labels.csv").is_file():
        pytest.skip(f"no real radiographs at {DATA / 'nih64'}; set XRARCHIVE_DATA")
    folder = tmp_path_factory.mktemp("nih64")
    ingest(DATA / "nih64", folder, size_px=64, terms=("nih-chestxray14",))
    return open_set(folder)


@pytest.fixture(scope="module")
def spaces():
    judge = load_classifier(weights_path("judge", None), role="judge")
    return {name: open_space(name, judge=judge) for name in ("imagenet", "judge")}


@pytest.fixture(scope="module")
def features(films, spaces):
    return {name: extract_features(space, np.asarray(films.pixels)) for name, space in spaces.items()}


def halves(films, draw):
    """Rows of one film of each patient, on either side of other patients."""
    codes, rng = group_codes(films.patients, len(films.pixels)), make_rng(draw, "one each")
    sides = []
    for rows in disjoint_halves(codes, len(codes), make_rng(draw, "real halves")):
        shuffled = rng.permutation(rows)
        sides.append(np.sort(shuffled[np.unique(codes[shuffled], return_index=True)[1]]))
    return sides


def measured(metric, space, synthetic, real, **more):
    return measure_fidelity(metric, synthetic, real, patients=None, seed=0, space=space, **more)


@pytest.mark.parametrize(("metric", "space"), [(KERNEL, "imagenet"), (KERNEL, "judge"), (FRECHET, "judge")])
def test_real_against_real_is_not_told_apart(metric, space, films, features):
    rows = features[space]
    found = [measured(metric, space, *(rows[side] for side in halves(films, draw))) for draw in range(DRAWS)]
    covered = sum(one["ratio"]["low"] <= 1 <= one["ratio"]["high"] for one in found)
    assert covered >= DRAWS - 1, [one["ratio"] for one in found]
    if metric is KERNEL:
        assert sum(one["low"] <= 0 <= one["high"] for one in found) >= DRAWS - 1


@pytest.mark.parametrize("kind", ["blur", "noise"])
@pytest.mark.parametrize(
    ("metric", "space", "level"),
    [(KERNEL, "imagenet", 3), (KERNEL, "judge", 5), (FRECHET, "judge", 5)],  # the judge was trained to bear a little
)
def test_blurred_and_noisy_films_are_caught(metric, space, kind, level, films, spaces, features):
    first, second = halves(films, 0)
    pixels = np.asarray(films.pixels)
    worse = extract_features(spaces[space], degrade(pixels[first], kind, level))
    found = measured(metric, space, worse, features[space][second])
    assert found["ratio"]["low"] > 1, found
    assert found["low"] > found["floor"]["value"] + 3 * found["floor"]["sd"]


def test_the_control_is_seen_in_imagenet_features(films, spaces, features):
    first, second = halves(films, 0)
    real = features["imagenet"]
    blurred = extract_features(spaces["imagenet"], blur_slightly(np.asarray(films.pixels)[second]))
    found = measured(KERNEL, "imagenet", real[first], real[second], blurred=blurred)
    assert found["control"]["value"] > found["floor"]["value"] + 10 * found["floor"]["sd"]


@pytest.mark.parametrize("kind", ["blur", "noise"])
def test_kid_in_imagenet_features_follows_the_strength_of_a_defect(kind, films, spaces, features):
    first, second = halves(films, 0)
    pixels, real = np.asarray(films.pixels), features["imagenet"]
    levels = [real[first[:300]]]
    levels += [extract_features(spaces["imagenet"], degrade(pixels[first[:300]], kind, level)) for level in range(1, 6)]
    values = [KERNEL.distance(worse, real[second]) for worse in levels]
    assert spearman(range(6), values) >= BAR, values
