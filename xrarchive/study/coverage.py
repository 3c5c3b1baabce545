"""Do the intervals keep their promise? Simulated studies are scored, and how often each interval holds the truth.

In: a study (for its cases and readers) and a model of readers. Out: a `Coverage` for each figure. 95 % is promised;
with 1,000 studies the share itself is known to +-1.4 points.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from xrarchive.bootstrap import Floats, make_rng
from xrarchive.errors import InputDataError
from xrarchive.files import write_json
from xrarchive.records import OnStatus, Status, ignore_status
from xrarchive.study.folder import read_study
from xrarchive.study.intervals import Pooled, pool_readers
from xrarchive.study.models import ReaderModel
from xrarchive.study.protocol import FIRST_SYNTHETIC_RATING
from xrarchive.study.readings import Readings
from xrarchive.study.realism import CRITERION, DPRIME, film_statistics
from xrarchive.study.simulating import draw_ratings, simulate_results, true_values

COVERAGE_NAME = "coverage.json"
_RESAMPLES = 300


@dataclass(frozen=True)
class Coverage:
    """How often the intervals of one figure held the truth.

    Attributes:
        figure: Its name in score.json.
        truth: Mean over all readers and films.
        mean: Of the values over the studies: beside `truth` it shows the figure's own bias.
        readers_and_cases: Share of studies whose interval held it: the one promised to.
        bootstrap: The same of the two-way bootstrap.
        width: Median width of the interval.
        studies: How many.
    """

    figure: str
    truth: float
    mean: float
    readers_and_cases: float
    bootstrap: float
    width: float
    studies: int


@dataclass(frozen=True)
class SimulationReport:
    """What was simulated.

    Attributes:
        out: Folder of the files.
        files: Results, one a reader.
        coverage: Of the intervals of studies of this size; empty if not asked for.
    """

    out: Path
    files: tuple[Path, ...]
    coverage: tuple[Coverage, ...]


def simulate_study(
    study_dir: Path,
    out: Path,
    model: ReaderModel,
    *,
    studies: int | None = None,
    seed: int = 0,
    on_status: OnStatus = ignore_status,
) -> SimulationReport:
    """Write a result file for every reader of a study, as simulated readers give it.

    Args:
        study_dir: Folder of the study.
        out: Folder for the results, made if needed.
        model: What the readers are like.
        studies: Also simulate and score so many studies of this size, and write how often intervals held the truth
            into coverage.json.
        seed: Same seed, same results.
        on_status: Told of every study.

    Raises:
        InputDataError: If there is no study; or if it asks no ratings, of which alone coverage is known.
        StorageError: If the disk refuses.
    """
    study, key = read_study(study_dir)
    protocol = study.protocol
    if studies is not None and not (protocol.asks_realism and protocol.layout == "single"):
        raise InputDataError(
            f"Coverage is known of realism studies of single films; this one asks for {protocol.task}, "
            f"{protocol.layout}.",
            fix="Leave --studies out, or name another study.",
            path=study_dir,
        )
    files = simulate_results(study, key, out, model, seed=seed)
    if studies is None:
        return SimulationReport(out, files, ())
    found = measure_coverage(protocol.cases, protocol.readers, model, studies=studies, seed=seed, on_status=on_status)
    write_json(out / COVERAGE_NAME, [dataclasses.asdict(each) for each in found])
    return SimulationReport(out, files, tuple(found))


def measure_coverage(
    cases: int,
    readers: int,
    model: ReaderModel,
    *,
    studies: int = 1000,
    seed: int = 0,
    on_status: OnStatus = ignore_status,
) -> list[Coverage]:
    """Simulate and score `studies` studies of films rated one by one, half of them synthetic.

    Args:
        cases: Of each study, even.
        readers: Of each study.
        model: Readers are drawn from it anew for each study, and so are films.
        studies: How many.
        seed: Same seed, same shares.
        on_status: Told of every study.
    """
    truth = true_values(model)
    synthetic = np.arange(cases) % 2 == 1
    found: dict[str, list[Pooled]] = {name: [] for name in truth}
    for study in range(studies):
        on_status(Status(study, studies, "studies"))
        rng = make_rng(seed, "study coverage", str(study))
        ratings = draw_ratings(synthetic.astype(np.float64), readers, model, rng)
        statistics = film_statistics(_readings(ratings, synthetic))
        for name in truth:
            share = name not in (DPRIME, CRITERION)
            found[name].append(
                pool_readers(
                    statistics[name],
                    synthetic.astype(np.int64),
                    name=name,
                    seed=study,
                    share=share,
                    resamples=_RESAMPLES,
                )
            )
    on_status(Status(studies, studies, "studies"))
    return [_coverage(name, truth[name], pooled) for name, pooled in found.items()]


def _coverage(name: str, truth: float, found: list[Pooled]) -> Coverage:
    values = np.array([each.value for each in found])
    low, high = np.array([(each.low, each.high) for each in found]).T
    return Coverage(
        figure=name,
        truth=round(truth, 4),
        mean=round(float(values.mean()), 4),
        readers_and_cases=round(float(((low <= truth) & (truth <= high)).mean()), 4),
        bootstrap=round(float(np.mean([each.bootstrap[0] <= truth <= each.bootstrap[1] for each in found])), 4),
        width=round(float(np.median(high - low)), 4),
        studies=len(found),
    )


def _readings(ratings: Floats, synthetic: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> Readings:
    cases, readers = ratings.shape
    nothing = np.full((cases, readers, 0), np.nan)
    return Readings(
        readers=tuple(map(str, range(readers))),
        cases=tuple(map(str, range(cases))),
        synthetic=synthetic,
        finding=np.full(cases, "", np.str_),
        size_px=np.zeros(cases, np.int64),
        labels=np.zeros((cases, 0)),
        ratings=ratings,
        correct=((ratings >= FIRST_SYNTHETIC_RATING) == synthetic[:, None]).astype(np.float64),
        ticked=nothing,
        items=nothing,
        seconds=np.full(ratings.shape, np.nan),
        repeated=((),) * readers,
    )
