"""Metrics once more, straight from their definitions, slow and independent of the package."""

import numpy as np
import scipy.linalg
import scipy.ndimage


def frechet_by_sqrtm(first, second):
    """Heusel et al. 2017, eq. 6, with scipy's matrix square root of the product."""
    cov_first, cov_second = np.cov(first, rowvar=False), np.cov(second, rowvar=False)
    root = scipy.linalg.sqrtm(cov_first @ cov_second)
    shift = first.mean(axis=0) - second.mean(axis=0)
    return float(shift @ shift + np.trace(cov_first + cov_second - 2 * root.real))


def kernel_pair(x, y):
    return (sum(a * b for a, b in zip(x, y, strict=True)) / len(x) + 1) ** 3


def kid_by_loops(first, second):
    """Gretton et al. 2012, eq. 4: the unbiased squared MMD, one pair at a time."""

    def mean_of_pairs(rows):
        count = len(rows)
        total = sum(kernel_pair(rows[i], rows[j]) for i in range(count) for j in range(count) if i != j)
        return total / (count * (count - 1))

    across = sum(kernel_pair(x, y) for x in first for y in second) / (len(first) * len(second))
    return mean_of_pairs(first) + mean_of_pairs(second) - 2 * across


def kid_of_copies(first, second, second_patients):
    """Unbiased MMD with `second_patients` as (patient, copy); pairs across copies of one patient are left out."""
    count = len(first)
    within_first = [
        kernel_pair(first[i][1], first[j][1])
        for i in range(count)
        for j in range(count)
        if i != j and first[i][0] != first[j][0]
    ]
    within_second = []
    for i, x in enumerate(second):
        for j, y in enumerate(second):
            same_patient = second_patients[i][0] == second_patients[j][0]
            same_copy = second_patients[i][1] == second_patients[j][1]
            if i != j and not (same_patient and not same_copy):
                within_second.append(kernel_pair(x, y))
    across = [kernel_pair(x, y) for _, x in first for y in second]
    return np.mean(within_first) + np.mean(within_second) - 2 * np.mean(across)


def auroc_by_pairs(scores, labels):
    """Every positive against every negative; a tie is half a win."""
    positives = [s for s, y in zip(scores, labels, strict=True) if y == 1]
    negatives = [s for s, y in zip(scores, labels, strict=True) if y == 0]
    wins = sum((p > n) + 0.5 * (p == n) for p in positives for n in negatives)
    return wins / (len(positives) * len(negatives))


def transfer_by_pairs(asked, random, real, accepted):
    """Both AUROCs one pair at a time, accepted radiographs on both sides of theirs, and the ratio above 1/2."""

    def wins(positives, negatives):
        return np.mean([(p > n) + 0.5 * (p == n) for p in positives for n in negatives])

    synthetic = wins(asked, random)
    control = wins([x for x, chosen in zip(real, accepted, strict=True) if chosen], real)
    ratio = (synthetic - 0.5) / (control - 0.5) if control != 0.5 else None
    return ratio, synthetic, control


def prior_by_em(posteriors, prevalence, steps=5_000):
    """Saerens et al. 2002, eq. 2.9, one image at a time."""
    prior = prevalence
    for _ in range(steps):
        total = 0.0
        for p in posteriors:
            present, absent = prior / prevalence * p, (1 - prior) / (1 - prevalence) * (1 - p)
            total += present / (present + absent)
        prior = total / len(posteriors)
    return prior


def manifold_by_loops(real, made, k):
    """Kynkäänniemi et al. 2019 and Naeem et al. 2020: precision, density, recall, coverage, one distance at a time."""

    def apart(x, y):
        return sum((a - b) ** 2 for a, b in zip(x, y, strict=True)) ** 0.5

    def radius(rows, i):
        return sorted(apart(rows[i], rows[j]) for j in range(len(rows)) if j != i)[k - 1]

    in_real = [[apart(x, y) < radius(real, i) for y in made] for i, x in enumerate(real)]
    in_made = [[apart(x, y) < radius(made, i) for y in real] for i, x in enumerate(made)]
    precision = np.mean([any(row[j] for row in in_real) for j in range(len(made))])
    density = sum(sum(row) for row in in_real) / (k * len(made))
    recall = np.mean([any(row[j] for row in in_made) for j in range(len(real))])
    return precision, density, recall, np.mean([any(row) for row in in_real])


def ms_ssim_of_windows(first, second, weights):
    """Wang et al. 2003, eq. 7, each 11x11 window one at a time, with weighted moments about its own mean."""
    x, y, product = np.asarray(first, float), np.asarray(second, float), 1.0
    distance = np.hypot(*np.mgrid[-5:6, -5:6])
    window = np.exp(-(distance**2) / (2 * 1.5**2))
    window /= window.sum()
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    for scale, weight in enumerate(weights):
        if scale:
            x, y = (scipy.ndimage.uniform_filter(z, 2, mode="reflect", origin=-1)[::2, ::2] for z in (x, y))
        seen = []
        for top in range(len(x) - 10):
            for left in range(len(x[0]) - 10):
                a, b = x[top : top + 11, left : left + 11], y[top : top + 11, left : left + 11]
                mean_a, mean_b = np.sum(window * a), np.sum(window * b)
                var_a, var_b = np.sum(window * (a - mean_a) ** 2), np.sum(window * (b - mean_b) ** 2)
                shared = np.sum(window * (a - mean_a) * (b - mean_b))
                value = (2 * shared + c2) / (var_a + var_b + c2)
                if scale == len(weights) - 1:
                    value *= (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
                seen.append(value)
        product *= max(np.mean(seen), 0) ** weight
    return product
