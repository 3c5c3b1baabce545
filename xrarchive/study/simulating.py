"""Readers who do not exist: for planning a study, for tests, and to see whether the intervals keep their promise.

In: a study, its key and a `ReaderModel`. Out: result files as pages save them, or how often intervals held the truth.

The model is that of signal detection: a film looks x = +-d/2 + case + noise synthetic, the reader's ratings cut x at
his criterion and at steps about it. Sensitivity and bias vary among readers, films differ in how they look to
everybody. What readers like these do on average over readers and films is known by integration, so that intervals can
be held against it.

Source: Roe & Metz 1997, Academic Radiology 4:298 (the model, equal variances).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from xrarchive.bootstrap import Floats, make_rng
from xrarchive.files import write_bytes
from xrarchive.findings import NO_FINDING
from xrarchive.study.arranging import Trial
from xrarchive.study.folder import Key, KeyEntry, Study
from xrarchive.study.models import ReaderModel
from xrarchive.study.protocol import REVIEW_ANSWERS, REVIEW_ITEMS
from xrarchive.study.results import SCHEMA, checksum

# Where ratings 2|3 ... 5|6 begin, from the criterion, in units of the noise.
_STEPS = (-1.2, -0.5, 0.0, 0.5, 1.2)
_NODES = 40
# Of a review: how often each item is absent, present, odd.
_ITEM_SHARES = (0.55, 0.35, 0.10)
_MEAN_MS, _SPREAD = 9_000, 0.5


def simulate_results(study: Study, key: Key, out: Path, model: ReaderModel, *, seed: int = 0) -> tuple[Path, ...]:
    """Write a result file for every reader of a study; `study score` takes them as it takes real ones.

    Raises:
        StorageError: If the disk refuses.
    """
    looks = _case_looks(key, model, make_rng(seed, "study simulated cases"))
    files = []
    for reader, trials in study.trials.items():
        rng = make_rng(seed, "study simulated reader", reader)
        result = _result(study, key, reader, trials, looks, model, rng)
        path = out / f"result-{study.sha256[:8]}-{reader}.json"
        write_bytes(path, _as_json(result))
        files.append(path)
    return tuple(files)


def _result(
    study: Study,
    key: Key,
    reader: str,
    trials: Sequence[Trial],
    looks: Mapping[str, float],
    model: ReaderModel,
    rng: np.random.Generator,
) -> dict[str, Any]:
    sensitivity = model.sensitivity + model.reader_sd * rng.standard_normal()
    criterion = model.bias + model.bias_sd * rng.standard_normal()
    answers = []
    for number, trial in enumerate(trials):
        x = {
            image: (sensitivity / 2 if key.images[image].synthetic else -sensitivity / 2)
            + looks[image]
            + float(rng.standard_normal())
            for image in trial.images
        }
        answers.append(_answer(study, key, number, trial, x, criterion, model, rng))
    result: dict[str, Any] = {
        "schema": SCHEMA,
        "study": study.sha256,
        "reader": reader,
        "complete": True,
        "trials": len(trials),
        "role": "other",
        "years": None,
        "comment": "Simulated.",
        "answers": answers,
    }
    return {**result, "checksum": checksum(result, key.tokens[reader])}


def _answer(
    study: Study,
    key: Key,
    number: int,
    trial: Trial,
    x: Mapping[str, float],
    criterion: float,
    model: ReaderModel,
    rng: np.random.Generator,
) -> dict[str, Any]:
    protocol = study.protocol
    answer: dict[str, Any] = {"trial": number}
    if protocol.layout == "pairs":
        answer["synthetic"] = max(trial.images, key=lambda image: x[image])
    elif protocol.asks_realism:
        answer["rating"] = rate(x[trial.images[0]], criterion)
    if protocol.asks_findings:
        entry = key.images[trial.images[0]]
        answer["findings"] = [name for name in study.findings if rng.random() < _chance(name, entry, model)]
    if protocol.task == "review":
        answer["items"] = [str(rng.choice(REVIEW_ANSWERS, p=_ITEM_SHARES)) for _ in REVIEW_ITEMS]
    answer["ms"] = int(_MEAN_MS * np.exp(_SPREAD * rng.standard_normal()))
    answer["note"] = ""
    return answer


def _chance(name: str, entry: KeyEntry, model: ReaderModel) -> float:
    there = entry.labels.get(name) == 1 and entry.finding != NO_FINDING
    return model.seen if there else model.imagined


def rate(x: float, criterion: float) -> int:
    """The rating, 1 to 6, of a film that looks `x`."""
    return 1 + sum(x > criterion + step for step in _STEPS)


def _case_looks(key: Key, model: ReaderModel, rng: np.random.Generator) -> dict[str, float]:
    return {image: float(model.case_sd * rng.standard_normal()) for image in sorted(key.images)}


def draw_ratings(synthetic: Floats, readers: int, model: ReaderModel, rng: np.random.Generator) -> Floats:
    """Ratings [C, R] of films by readers, both drawn afresh.

    Args:
        synthetic: [C], 1 = synthetic.
        readers: R.
        model: Of all readers.
        rng: Draws.
    """
    sensitivity = model.sensitivity + model.reader_sd * rng.standard_normal(readers)
    criterion = model.bias + model.bias_sd * rng.standard_normal(readers)
    x = np.where(synthetic[:, None] == 1, sensitivity / 2, -sensitivity / 2)
    x = x + model.case_sd * rng.standard_normal((len(synthetic), 1)) + rng.standard_normal(x.shape)
    ratings: Floats = 1.0 + (x[:, :, None] > criterion[None, :, None] + np.array(_STEPS)).sum(axis=2)
    return ratings


def true_values(model: ReaderModel) -> dict[str, float]:
    """What such readers reach on average over all readers and films, by name of the figure (see `realism`).

    By Gauss-Hermite integration over readers; films and noise are normal and add up.
    """
    from scipy.special import ndtr

    nodes, weights = np.polynomial.hermite_e.hermegauss(_NODES)
    weights = weights / weights.sum()
    sensitivity = (model.sensitivity + model.reader_sd * nodes)[:, None, None]
    bars = (model.bias + model.bias_sd * nodes)[None, :, None] + np.array(_STEPS)
    spread = np.sqrt(1 + model.case_sd**2)
    above = {sign: ndtr((sign * sensitivity / 2 - bars) / spread) for sign in (1, -1)}  # [nodes, nodes, steps]
    both = weights[:, None] * weights[None, :]
    middle = _STEPS.index(0.0)
    hits, alarms = above[1][..., middle], above[-1][..., middle]
    shares = {sign: -np.diff(np.concatenate([np.ones_like(upto[..., :1]), upto, np.zeros_like(upto[..., :1])], -1),
    axis=-1)
              for sign, upto in above.items()}  # fmt: skip
    below = np.cumsum(shares[-1], axis=-1) - shares[-1] / 2
    mean = {name: float((both * values).sum()) for name, values in (
        ("sensitivity", hits), ("specificity", 1 - alarms), ("accuracy", (hits + 1 - alarms) / 2),
        ("auc", (shares[1] * below).sum(axis=-1)))}  # fmt: skip
    return {
        **mean,
        "synthetic_called_real": 1 - mean["sensitivity"],
        "d_prime": model.sensitivity / spread,
        "criterion": model.bias / spread,
    }


def _as_json(result: Mapping[str, Any]) -> bytes:
    """As a page writes it: in the order that was summed."""
    return (json.dumps(result, indent=1, ensure_ascii=False) + "\n").encode()
