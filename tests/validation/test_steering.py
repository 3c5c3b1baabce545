"""What steering did, on made scores of which the answer is known."""

from dataclasses import replace

import numpy as np
import pytest

from xrarchive.statistics import auroc, to_logit
from xrarchive.validation.offtarget import measure_subgroups, strata_names
from xrarchive.validation.raters import Rater
from xrarchive.validation.scored import Films, Scored, Scores, logits_of
from xrarchive.validation.sides import Evidence, Sides
from xrarchive.validation.steering import STEERING, calls, histogram, measure_asked_and_called, measure_steering

FINDINGS = ("Edema", "Mass", "Hernia")
CALLS = {"tp": 30, "fn": 20, "fp": 10, "tn": 90}
AUROC = {"value": 0.7, "low": 0.6, "high": 0.8, "n": 40}
FIGURES = {"calls": CALLS, "within": {"AP": AUROC, "PA": None}}


def scored(rng, count, edema=0.0, view=0.0, mass=0.0):
    """Guide and judge see the same Edema, each with errors of its own; Hernia is unknown to both."""
    truth = rng.normal(edema, 1, count)
    findings = np.full((2, count, 3), np.nan, np.float32)
    findings[:, :, 0] = truth + 0.5 * rng.normal(size=(2, count))
    findings[:, :, 1] = mass + rng.normal(size=(2, count))
    seen = (view + rng.normal(size=(2, count))).astype(np.float32)
    by = {role: Scores(findings[n], {"view": seen[n]}) for n, role in enumerate(("guide", "judge"))}
    return Scored(np.zeros((count, 2, 2), np.uint8), by)


def films(rng, count=600):
    images = scored(rng, count)
    labels = np.full((count, 3), np.nan, np.float32)
    labels[:, 0] = images.by["judge"].findings[:, 0] + rng.normal(size=count) > 1
    labels[:, 1] = np.arange(count) % 4 == 0
    accepted = np.zeros((count, 3), bool)
    guide = images.by["guide"].findings
    accepted[:, 0] = guide[:, 0] >= np.quantile(guide[:, 0], 0.9)
    return Films("toy", images, labels, np.array([f"p{row}" for row in range(count)]), accepted)


def world(rng, *, edema=1.8, view=0.0, mass=0.0):
    """100 images asked to show Edema, as marked as the films that the guide accepts, and 100 asked to show Mass."""
    sides = scored(rng, 100, edema, view, mass), scored(rng, 100)
    by = {
        role: Scores(
            np.concatenate([side.by[role].findings for side in sides]),
            {"view": np.concatenate([side.by[role].nuisances["view"] for side in sides])},
        )
        for role in ("guide", "judge")
    }
    images = Scored(np.zeros((200, 2, 2), np.uint8), by)
    asked = np.eye(3, dtype=bool)[np.repeat([0, 1], 100)]
    return Evidence(asked, images, scored(rng, 400), films(rng), films(rng))


def rater(evidence, **changes):
    thresholds = np.array([0.7, 0.7, np.nan], np.float32)
    given = {"figures": dict.fromkeys(FINDINGS, FIGURES), "thresholds": thresholds}
    return Rater("judge", "a" * 64, evidence.images.by["judge"].findings, **(given | changes))


def side(evidence, column=0, **changes):
    return Sides(FINDINGS[column], column, FINDINGS, evidence, rater(evidence, **changes), 0, 100)


def leaves(value):
    if isinstance(value, dict) and "value" in value and ("note" in value or "reason" in value):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from leaves(inner)


def test_every_measure_is_there_with_its_company(rng):
    found = measure_steering(side(world(rng)))
    assert set(found) == {*STEERING, "within"}
    for name in STEERING:
        measure = found[name]
        assert measure["low"] <= measure["value"] <= measure["high"], name
        assert measure["note"].endswith(".")
        assert ". " not in measure["note"]
        assert measure["n"] == 100
    assert found["transfer"]["ceiling"]["value"] == 1
    assert found["sensitivity"]["ceiling"]["value"] == 0.6
    assert found["specificity"]["ceiling"] == {
        "value": 0.9,
        "n": 100,
        "note": "Of the judge on real films, by their labels.",
    }
    assert found["within"]["AP"]["auroc"]["ceiling"]["value"] == 0.7
    assert "ceiling" not in found["within"]["PA"]["auroc"]


def test_steering_that_carries_over_transfers_and_one_that_does_not_does_not(rng):
    good = world(rng)
    found = measure_steering(side(good))
    assert 0.8 < found["transfer"]["low"] < 1 < found["transfer"]["high"]
    expected = auroc(
        np.concatenate([good.images.by["judge"].findings[:100, 0], good.draws.by["judge"].findings[:, 0]]),
        np.repeat([1, 0], [100, 400]),
    )
    assert found["transfer"]["auroc"]["value"] == pytest.approx(expected, rel=1e-5)
    assert 0.5 < found["dose"]["value"] < 1.7
    assert found["exaggeration"]["excess"]["low"] < 0.05
    fooled = world(rng, edema=0)
    fooled.images.by["guide"].findings[:100, 0] += 3
    bad = measure_steering(side(fooled))
    assert bad["transfer"]["high"] < 0.4
    assert bad["guide_gap"]["value"] > 0.3
    assert abs(bad["guide_gap"]["floor"]["value"]) < 0.1


def test_caricatures_are_exaggerated(rng):
    found = measure_steering(side(world(rng, edema=6)))
    assert found["exaggeration"]["value"] > 0.9
    assert found["exaggeration"]["excess"]["low"] > 0.5
    assert found["dose"]["value"] > 3


def test_what_was_not_asked_and_moved_is_off_target(rng):
    still, moved = (measure_steering(side(world(rng, mass=mass)))["off_target"] for mass in (0, 2))
    assert still["value"] < 0.35
    assert moved["value"] == pytest.approx(2, abs=0.4)
    assert list(moved["by_finding"]) == ["Mass"]
    assert moved["by_finding"]["Mass"]["images"] > 1.5
    assert abs(moved["by_finding"]["Mass"]["films"]) < 0.4
    assert moved["floor"]["value"] < 0.4


def test_a_finding_asked_along_is_not_off_target(rng):
    evidence = world(rng, mass=2)
    evidence.asked[:97, 1] = True
    assert "left unasked" in measure_steering(side(evidence))["off_target"]["reason"]


def test_the_view_is_seen_to_move(rng):
    still, moved = (measure_steering(side(world(rng, view=view)))["view"] for view in (0, 3))
    assert still["low"] < 0.5 < still["high"]
    assert moved["low"] > 0.9


def test_within_a_view_only_its_images_count(rng):
    found = measure_steering(side(world(rng, view=8)))["within"]
    assert found["AP"]["transfer"]["n"] == 100
    assert "sees as PA" in found["PA"]["transfer"]["reason"]
    assert "within PA needs 5 images of Edema" in found["PA"]["auroc"]["reason"]


def test_what_is_not_at_hand_is_named(rng):
    evidence = replace(world(rng), draws="No generator.", control="No control.", labelled="No labels.")
    found = measure_steering(side(evidence))
    reasons = {name: found[name].get("reason") for name in STEERING}
    assert reasons == {
        "transfer": "No generator.", "dose": "No labels.", "exaggeration": "No labels.", "sensitivity": None,
        "specificity": None, "guide_gap": None, "off_target": "No generator.", "view": "No generator.",
    }  # fmt: skip
    assert found["guide_gap"]["floor"] is None
    films_alone = measure_steering(side(replace(world(rng), control="No control.")))
    assert films_alone["transfer"]["reason"] == "No control."
    assert "ceiling" not in films_alone["dose"]
    assert films_alone["off_target"]["floor"] is None
    blind = world(rng)
    del blind.images.by["guide"]
    assert "--guide" in measure_steering(side(blind))["guide_gap"]["reason"]


def test_an_unknown_finding_and_few_images_have_reasons_everywhere(rng):
    evidence = world(rng)
    evidence.asked[:, 2] = True
    unknown = list(leaves(measure_steering(side(evidence, 2))))
    assert len(unknown) == len(STEERING) + 4
    assert all("gives no score for Hernia" in found["reason"] for found in unknown)
    evidence.asked[4:, 0] = False
    assert all("there are 4" in found["reason"] for found in leaves(measure_steering(side(evidence))))


def test_few_films_few_accepted_and_a_missing_threshold_have_reasons(rng):
    evidence = world(rng)
    few = evidence.labelled.rows(np.arange(19))
    evidence.control.accepted[:, 0] = False
    found = measure_steering(side(replace(evidence, labelled=few), thresholds=np.full(3, np.nan), figures={}))
    assert "there are 100, 400 and 0" in found["transfer"]["reason"]
    assert "20 films with the label" in found["dose"]["reason"]
    assert "no operating threshold" in found["sensitivity"]["reason"]
    assert found["guide_gap"]["floor"] is None


def test_calls_are_made_at_the_threshold_and_never_without_one(rng):
    evidence = world(rng)
    called = calls(evidence.images, rater(evidence))
    np.testing.assert_array_equal(called[:, 0], evidence.images.by["judge"].findings[:, 0] >= to_logit(0.7))
    assert not called[:, 2].any()


def test_asked_and_called_beside_labels_and_calls_of_films(rng):
    evidence = world(rng, mass=2)
    found = measure_asked_and_called(evidence, rater(evidence), seed=0, resamples=50)
    assert found["low"] <= found["value"] <= found["high"] <= 1
    assert found["floor"]["n"] == 600
    single = rater(evidence, thresholds=np.array([0.7, np.nan, np.nan], np.float32))
    assert "fewer than two" in measure_asked_and_called(evidence, single, seed=0)["reason"]
    without = measure_asked_and_called(replace(evidence, labelled="None."), rater(evidence), seed=0, resamples=50)
    assert without["floor"] is None
    assert without["value"] == found["value"]


def test_a_histogram_counts_every_image_once(rng):
    found = histogram(side(world(rng)))
    assert (sum(found["asked"]), sum(found["not_asked"]), len(found["edges"])) == (100, 100, 21)
    assert sum(found["real"]) > 20


def test_subgroups_that_no_image_reaches_are_uncovered(rng):
    evidence = world(rng, view=8)
    seen = evidence.labelled.scored.by["guide"].nuisances["view"] > 0
    features = rng.normal(size=(600, 2))
    features[:, 0] += 20 * seen
    images = rng.normal([20, 0], 1, (200, 2))
    found = measure_subgroups(side(evidence), images, features, {"view": ("AP", "PA")})["view"]
    assert found["AP"]["value"] > 0.6
    assert found["PA"]["value"] == 0
    assert found["AP"]["n"] == found["PA"]["n"]
    assert found["AP"]["share"] == 1
    assert 0.3 < found["PA"]["real_share"] < 0.7
    nothing = measure_subgroups(side(evidence, 2), images, features, {"view": ("AP", "PA")})["view"]
    assert "there are 0, 0 and 0" in nothing["PA"]["reason"]
    missing = replace(evidence, labelled="No films.")
    assert measure_subgroups(side(missing), images, None, {"view": ("AP", "PA")})["view"]["AP"]["reason"] == "No films."


def test_sides_of_nuisances_have_names():
    assert strata_names({"view": "AP", "sex": "M", "age": 54, "source": "the commonest"}) == {
        "view": ("AP", "PA"),
        "sex": ("M", "F"),
        "age": ("from 54", "under 54"),
        "source": ("the commonest", "not the commonest"),
    }


def test_outputs_are_put_in_the_order_of_the_subject():
    outputs = np.arange(8, dtype=np.float32).reshape(2, 4)
    found = logits_of(("Mass", "Edema"), ("view", "sex"), outputs, ("Edema", "Hernia", "Mass"))
    np.testing.assert_array_equal(found.findings, [[1, np.nan, 0], [5, np.nan, 4]])
    np.testing.assert_array_equal(found.nuisances["sex"], [3, 7])
