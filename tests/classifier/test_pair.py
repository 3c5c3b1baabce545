from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from xrarchive.classifier.classifier import load_classifier
from xrarchive.classifier.crossfitted import TABLE_NAME, CrossFitted, read_cross_fitted, write_cross_fitted
from xrarchive.classifier.pair import make_pair, soft_label
from xrarchive.errors import DamageError, InputDataError
from xrarchive.files import sha256_file
from xrarchive.weights import read_meta

N = 3000
NAMES = ("A", "B")


def table(logits: np.ndarray, **changes: Any) -> CrossFitted:
    films = np.array([f"{row}.png" for row in range(N)])
    patients = np.array([f"p{row // 2}" for row in range(N)])
    made = CrossFitted(films, patients, np.zeros(N, np.int64), NAMES, logits.astype(np.float32), "set", "guide")
    return dataclasses.replace(made, **changes)


@pytest.fixture
def films(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Guide's and judge's logits and labels [N, 2]: of A each sees one half; of B the judge sees nothing."""
    first, second, noise = (rng.standard_normal((N, 2)) for _ in range(3))
    labels = (rng.random((N, 2)) < 1 / (1 + np.exp(-(first + 2 * second - 1)))).astype(np.float32)
    labels[::11] = np.nan
    judge = second.copy()
    judge[:, 1] = noise[:, 1]
    return first, judge, labels


def pair_of(guide: CrossFitted, judge: CrossFitted, labels: np.ndarray, min_positives: int = 40) -> dict[str, Any]:
    return make_pair(guide, judge, labels, vocabulary=NAMES, min_positives=min_positives)


def test_soft_labels_recover_what_both_say_together(films: tuple[np.ndarray, ...]) -> None:
    guide, judge, labels = films
    pair = pair_of(table(guide), table(judge), labels)
    assert pair["guide_sha256"] == "guide"
    assert pair["soft"]["A"] == pytest.approx([-1, 1, 2], abs=0.25)
    soft = soft_label(pair, "A", guide[:, 0].astype(np.float32), judge[:, 0].astype(np.float32))
    assert soft.dtype == np.float32
    a, b, c = pair["soft"]["A"]
    np.testing.assert_allclose(soft, 1 / (1 + np.exp(-(a + b * guide[:, 0] + c * judge[:, 0]))), rtol=1e-4)


def test_a_negative_slope_is_dropped_and_the_rest_fitted_again(films: tuple[np.ndarray, ...]) -> None:
    guide, judge, labels = films
    a, b, c = pair_of(table(guide), table(-judge), labels)["soft"]["A"]
    assert (c, b > 0.3, a < 0) == (0, True, True)
    share = np.nanmean(labels[:, 0])
    nothing = pair_of(table(-guide), table(-judge), labels)["soft"]["A"]
    assert nothing == pytest.approx([np.log(share / (1 - share)), 0, 0], abs=1e-3)


def test_findings_that_cannot_be_called_have_no_soft_label(films: tuple[np.ndarray, ...]) -> None:
    guide, judge, labels = films
    pair = pair_of(table(guide), table(judge), labels, min_positives=N)
    assert pair["soft"] == {}
    with pytest.raises(ValueError, match="no soft label for 'A'"):
        soft_label(pair, "A", guide[:, 0], judge[:, 0])


def test_control_tells_a_judge_that_sees_the_same_from_one_that_does_not(films: tuple[np.ndarray, ...]) -> None:
    guide, _, labels = films
    same, noise = guide + 0.5, films[1]
    for strictness, share in (("0.1", 0.1), ("0.05", 0.05), ("0.02", 0.02), ("0.01", 0.01)):
        found = pair_of(table(guide), table(same), labels)["control"]["A"][strictness]
        # Accepted films count among all: a judge that orders as the guide does falls short of 1 by half their share.
        assert found["value"] == pytest.approx(1 - share / 2, abs=0.002)
        assert found["n"] == N * share
        blind = pair_of(table(guide), table(noise), labels)["control"]["B"][strictness]
        assert blind["low"] < 0.5 < blind["high"]


def test_correlation_is_that_within_the_classes(rng: np.random.Generator) -> None:
    labels = np.tile([[1.0], [0.0], [0.0]], (N // 3, 2)).astype(np.float32)
    shared = rng.standard_normal((N, 2))
    apart = [4 * labels + rng.standard_normal((N, 2)) for _ in range(2)]
    alike = [4 * labels + shared + 0.1 * rng.standard_normal((N, 2)) for _ in range(2)]
    assert pair_of(table(apart[0]), table(apart[1]), labels)["correlation"]["A"] == pytest.approx(0, abs=0.06)
    assert pair_of(table(alike[0]), table(alike[1]), labels)["correlation"]["A"] == pytest.approx(0.99, abs=0.01)
    labels[:, 1] = 0
    assert pair_of(table(apart[0]), table(apart[1]), labels)["correlation"]["B"] is None


def test_tables_of_other_films_are_not_compared(films: tuple[np.ndarray, ...]) -> None:
    guide, judge, labels = films
    other = table(guide, images=np.array([f"x{row}.png" for row in range(N)]))
    with pytest.raises(InputDataError, match="are not the 3000 films"):
        pair_of(other, table(judge), labels)


def test_a_table_comes_back_as_it_was_written(films: tuple[np.ndarray, ...], tmp_path: Path) -> None:
    written = table(films[0])
    write_cross_fitted(tmp_path, written)
    read = read_cross_fitted(tmp_path)
    for field in dataclasses.fields(CrossFitted):
        np.testing.assert_array_equal(getattr(read, field.name), getattr(written, field.name))
    (tmp_path / TABLE_NAME).write_bytes((tmp_path / TABLE_NAME).read_bytes()[:-9])
    with pytest.raises(DamageError, match="cannot be read"):
        read_cross_fitted(tmp_path)


def test_a_judge_trained_with_a_guide_carries_the_pair(tiny_guide: Path, tiny_judge: Path, tiny_referee: Path) -> None:
    judge = load_classifier(tiny_judge)
    pair = judge.meta["pair"]
    assert pair["guide_sha256"] == sha256_file(tiny_guide)
    assert set(pair["control"]) == set(pair["correlation"]) == set(pair["soft"]) == set(judge.vocabulary)
    assert all(set(found) == {"0.1", "0.05", "0.02", "0.01"} for found in pair["control"].values())
    assert all(b >= 0 and c >= 0 for _, b, c in pair["soft"].values())
    for path in (tiny_guide, tiny_referee):
        assert "pair" not in read_meta(path, kind="classifier")


@pytest.fixture
def run(tiny_guide: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_guide.parent, tmp_path / "run"))


def test_a_referee_may_be_paired_and_a_guide_may_not(
    train_tiny: Callable[..., Path], run: Path, tmp_path: Path
) -> None:
    path = train_tiny(tmp_path / "referee", "referee", guide=run, epochs=1)
    assert read_meta(path, kind="classifier")["pair"]["guide_sha256"] == sha256_file(run / "guide.safetensors")
    with pytest.raises(ValueError, match="not with another guide"):
        train_tiny(tmp_path / "guide", "guide", guide=run)


def rewritten(run: Path, **changes: Any) -> Path:
    write_cross_fitted(run, dataclasses.replace(read_cross_fitted(run), **changes))
    return run


REFUSED: list[tuple[Callable[[Path], object], str]] = [
    (lambda run: run / "guide.safetensors", "is not a run folder"),
    (lambda run: run / "nowhere", "is not a run folder"),
    (lambda run: (run / TABLE_NAME).unlink(), "holds no cross-fitted.parquet"),
    (lambda run: (run / "guide.safetensors").unlink(), "No weights at"),
    (lambda run: rewritten(run, weights_sha256="0" * 64), "has another sha256 than its table"),
    (lambda run: rewritten(run, radiographs_sha256="0" * 64), "was trained on the radiograph set 000000000000"),
]


@pytest.mark.parametrize(("spoil", "message"), REFUSED)
def test_a_run_that_cannot_be_compared_with_is_refused_before_training(
    train_tiny: Callable[..., Path], run: Path, tmp_path: Path, spoil: Callable[[Path], object], message: str
) -> None:
    spoilt = spoil(run)
    with pytest.raises(InputDataError, match=message) as caught:
        train_tiny(tmp_path / "judge", "judge", guide=spoilt if isinstance(spoilt, Path) else run)
    assert caught.value.fix
    assert not (tmp_path / "judge").exists()


def test_a_guide_of_the_same_patients_is_refused(train_tiny: Callable[..., Path], run: Path, tmp_path: Path) -> None:
    with pytest.raises(InputDataError, match=r"learned from \d+ of the \d+ patients") as caught:
        train_tiny(tmp_path / "judge", "judge", guide=run, seed=1)
    assert "the guide's is 0" in caught.value.fix
