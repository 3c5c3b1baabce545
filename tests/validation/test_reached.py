import numpy as np

from xrarchive.statistics import to_probability
from xrarchive.validation.reached import REACHED_BAR, measure_reached, measure_stored

FINDINGS = ("Edema", "Mass", "Hernia")


def world(count=200):
    """As built: each image reaches the bar of what it was asked, and of nothing else."""
    asked = np.eye(3, dtype=bool)[np.arange(count) % 2]
    logits = np.where(asked, 2.0, -2.0).astype(np.float32)
    return [f"i{row:03}" for row in range(count)], asked, logits, np.array([1.0, 1.5, np.nan])


def test_an_archive_as_it_was_built_reaches_all_bars():
    found = measure_reached(FINDINGS, *world())
    assert (found["value"], found["n"], found["image_ids"]) == (1, 200, [])
    assert found["by_finding"] == {"Edema": {"share": 1, "n": 100}, "Mass": {"share": 1, "n": 100}}


def test_a_tenth_of_swapped_labels_is_named():
    ids, asked, logits, bars = world()
    swapped = asked.copy()
    swapped[:20] = asked[:20][:, [1, 0, 2]]
    found = measure_reached(FINDINGS, ids, swapped, logits, bars)
    assert found["value"] == 0.9 < REACHED_BAR
    assert found["image_ids"] == ids[:20]


def test_every_finding_asked_for_must_be_reached_and_rounding_is_forgiven():
    ids, asked, logits, bars = world()
    logits[0, 0] = 0.99
    logits[2, 0] = 0.9
    both = asked.copy()
    both[1] = True
    found = measure_reached(FINDINGS, ids, both, logits, bars)
    assert found["image_ids"] == [ids[1], ids[2]]
    logits[4, 0] = np.nan
    assert measure_reached(FINDINGS, ids, asked, logits, bars)["image_ids"] == [ids[2], ids[4]]


def test_without_a_bar_there_is_a_reason():
    ids, asked, logits, _ = world()
    assert "knows no bar" in measure_reached(FINDINGS, ids, asked, logits, np.full(3, np.nan))["reason"]


def test_stored_scores_of_other_pixels_are_counted():
    ids, _, logits, _ = world()
    stored = {"guide": to_probability(logits), "judge": np.full(logits.shape, np.nan)}
    assert measure_stored(ids, stored, {"guide": logits, "judge": logits})["value"] == 0
    stored["guide"][[3, 4]] = stored["guide"][[4, 3]]
    found = measure_stored(ids, stored, {"guide": logits})
    assert (found["value"], found["image_ids"]) == (2, ["i003", "i004"])
    assert "no stored scores" in measure_stored(ids, {"judge": stored["judge"]}, {"judge": logits})["reason"]
    assert "at hand" in measure_stored(ids, stored, {})["reason"]
