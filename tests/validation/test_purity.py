import numpy as np
import pytest
from reference_formulas import prior_by_em

from xrarchive.validation.purity import adjust_prior, rogan_gladen, score_mixture


def calls_of(present, sensitivity, specificity, rng):
    return rng.random(present.size) < np.where(present, sensitivity, 1 - specificity)


def world(seed, *, prevalence, asked=400, real=1500, sensitivity=0.8, specificity=0.9, noise=0.0):
    rng = np.random.default_rng(seed)
    shown, present = rng.random(asked) < prevalence, rng.random(real) < 0.3
    labels = present ^ (rng.random(real) < noise)
    return (
        calls_of(shown, sensitivity, specificity, rng),
        calls_of(present, sensitivity, specificity, rng),
        labels.astype(float),
    )


def table(positive_called, positive, negative_called, negative):
    """Calls and labels with given counts."""
    called = [n < positive_called for n in range(positive)] + [n < negative_called for n in range(negative)]
    return np.array(called), np.repeat([1.0, 0.0], [positive, negative])


def posteriors_of(prevalence, count, rng, trained=0.3, apart=1.5):
    """Bayes posteriors under prior `trained` of unit normals `apart` from each other."""
    score = rng.normal(size=count) + apart * (rng.random(count) < prevalence)
    odds = trained / (1 - trained) * np.exp(apart * score - apart**2 / 2)
    return odds / (1 + odds)


def test_rogan_gladen_by_hand():
    called, labels = table(8, 10, 2, 20)
    asked = np.arange(20) < 9
    assert rogan_gladen(asked, called, labels, seed=0).value == pytest.approx((0.45 + 0.9 - 1) / 0.7)


@pytest.mark.parametrize(("share", "expected"), [(0, 0.0), (20, 1.0), (1, 0.0), (18, 1.0)])
def test_prevalence_is_clipped(share, expected):
    called, labels = table(8, 10, 2, 20)
    found = rogan_gladen(np.arange(20) < share, called, labels, seed=0)
    assert found.value == expected
    assert 0 <= found.low <= found.high <= 1


def test_calls_that_know_nothing_say_nothing():
    called, labels = table(2, 10, 10, 20)
    found = rogan_gladen(np.ones(5, bool), called, labels, seed=0)
    assert not found.defined
    assert found.left_out > 0.5


def test_unknown_labels_and_their_patients_are_left_out():
    called, labels = table(8, 10, 2, 20)
    asked = np.arange(20) < 9
    more = np.concatenate([called, [True] * 7]), np.concatenate([labels, [np.nan] * 7])
    names = [str(n) for n in range(37)]
    assert rogan_gladen(asked, *more, groups=names, seed=0).value == rogan_gladen(asked, called, labels, seed=0).value
    with pytest.raises(ValueError, match="groups must be"):
        rogan_gladen(asked, *more, groups=names[:30], seed=0)


@pytest.mark.parametrize("prevalence", [0.3, 0.9])
@pytest.mark.parametrize("noise", [0.0, 0.1])
def test_rogan_gladen_finds_the_share_that_is_there(prevalence, noise):
    covered = 0
    for seed in range(40):
        given = world(seed, prevalence=prevalence, noise=noise)
        found = rogan_gladen(*given, label_noise=noise, seed=seed, resamples=200)
        covered += found.low <= prevalence <= found.high
    assert covered >= 33


def test_noise_not_allowed_for_is_a_bias_and_allowed_for_is_none():
    given = world(0, prevalence=0.5, asked=20_000, real=100_000, noise=0.1)
    assert rogan_gladen(*given, seed=0, resamples=20).value > 0.54
    corrected = rogan_gladen(*given, label_noise=0.1, seed=0, resamples=20)
    assert corrected.value == pytest.approx(0.5, abs=0.015)


def test_noise_in_closed_form_equals_expected_counts():
    """A table as flips would make it on average gives back the sensitivity and specificity behind it."""
    prevalence, sensitivity, specificity, noise, films = 0.3, 0.8, 0.9, 0.1, 10_000
    present_called, absent_called = prevalence * sensitivity, (1 - prevalence) * (1 - specificity)
    called_1 = round(films * (present_called * (1 - noise) + absent_called * noise))
    called_0 = round(films * (present_called * noise + absent_called * (1 - noise)))
    labelled_1 = round(films * (prevalence * (1 - noise) + (1 - prevalence) * noise))
    called, labels = table(called_1, labelled_1, called_0, films - labelled_1)
    found = rogan_gladen(np.arange(100) < 45, called, labels, label_noise=noise, seed=0, resamples=20)
    assert found.value == pytest.approx((0.45 + 0.9 - 1) / 0.7, abs=1e-9)


def test_more_flips_than_positives_cannot_be():
    called, labels = table(8, 10, 2, 90)
    asked = np.ones(5, bool)
    assert rogan_gladen(asked, called, labels, label_noise=0.05, seed=0).defined
    assert not rogan_gladen(asked, called, labels, label_noise=0.2, seed=0).defined


def test_patients_and_seeds():
    asked, called, labels = world(1, prevalence=0.5, asked=4000, real=60)
    called, labels = np.repeat(called, 10), np.repeat(labels, 10)
    by_film = rogan_gladen(asked, called, labels, seed=0)
    by_patient = rogan_gladen(asked, called, labels, groups=np.arange(600) // 10, seed=0)
    assert by_patient.high - by_patient.low > 1.5 * (by_film.high - by_film.low)
    assert by_film == rogan_gladen(asked, called, labels, seed=0) != rogan_gladen(asked, called, labels, seed=1)


def test_prior_by_hand():
    """Certain posteriors are counted. Two images at 1/2 +- the same, under an even prior, stay even."""
    prior, adjusted = adjust_prior([1.0, 1.0, 1.0, 0.0], 0.2)
    assert prior == pytest.approx(0.75)
    np.testing.assert_allclose(adjusted, [1, 1, 1, 0])
    assert adjust_prior([0.3, 0.7], 0.5)[0] == pytest.approx(0.5)
    assert adjust_prior([0.2, 0.2], 0.2)[0] == pytest.approx(0.2)


def test_adjusted_posteriors_average_to_the_prior(rng):
    given = posteriors_of(0.6, 300, rng)
    prior, adjusted = adjust_prior(given, 0.3)
    assert adjusted.mean() == pytest.approx(prior, abs=1e-7)
    assert (np.argsort(adjusted) == np.argsort(given)).all()


@pytest.mark.parametrize("prevalence", [0.15, 0.5, 0.85])
def test_expectation_maximisation_agrees_with_loops_and_with_halving(rng, prevalence):
    given = posteriors_of(prevalence, 120, rng)
    prior, _ = adjust_prior(given, 0.3)
    assert prior == pytest.approx(prior_by_em(given, 0.3, 1000), abs=1e-6)
    assert score_mixture(given, 0.3, seed=0, resamples=5).value == pytest.approx(prior, abs=1e-6)


@pytest.mark.parametrize("prevalence", [0.1, 0.7, 0.95])
def test_score_mixture_finds_the_share_that_is_there(prevalence):
    covered = 0
    for seed in range(40):
        given = posteriors_of(prevalence, 300, np.random.default_rng(seed))
        found = score_mixture(given, 0.3, seed=seed, resamples=100)
        covered += found.low <= prevalence <= found.high
        assert found.low <= found.value <= found.high
    assert covered >= 33


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_none_and_all_are_reached(rng, share):
    found = score_mixture(posteriors_of(share, 2000, rng, apart=3), 0.3, seed=0, resamples=50)
    assert found.value == pytest.approx(share, abs=0.02)
    certain = score_mixture(np.full(10, share), 0.3, seed=0, resamples=50)
    assert certain.value == pytest.approx(share, abs=1e-8)


def test_images_that_say_nothing_give_nothing():
    assert not score_mixture([0.3] * 5, 0.3, seed=0).defined


def test_refuses_what_is_no_call_label_or_posterior():
    called, labels = table(8, 10, 2, 20)
    with pytest.raises(ValueError, match="asked_calls must be bool"):
        rogan_gladen([0.2], called, labels, seed=0)
    with pytest.raises(ValueError, match="real_labels must be 1, 0 or NaN"):
        rogan_gladen(called, called, labels * 2, seed=0)
    with pytest.raises(ValueError, match=r"real_labels must be \[30\]"):
        rogan_gladen(called, called, labels[:3], seed=0)
    with pytest.raises(ValueError, match="label_noise"):
        rogan_gladen(called, called, labels, label_noise=0.5, seed=0)
    with pytest.raises(ValueError, match="prevalence"):
        adjust_prior([0.5], 0.0)
    for wrong in ([], [1.2], [np.nan], [[0.5]]):
        with pytest.raises(ValueError, match="posteriors"):
            score_mixture(wrong, 0.3, seed=0)


def test_halving_reaches_a_prior_that_expectation_maximisation_only_approaches():
    """Likelihood ratios 1/2 and 3/2: the slope at a prior of 0 is 0, and the steps towards it shrink like 1 / n^2."""
    prior, _ = adjust_prior([1 / 3, 0.6], 0.5)
    assert 1e-4 < prior < 0.01
    assert score_mixture([1 / 3, 0.6], 0.5, seed=0, resamples=5).value < 1e-4
