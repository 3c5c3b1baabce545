"""Metrics once more, straight from their definitions, slow and independent of the package."""

import numpy as np
import scipy.linalg


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
