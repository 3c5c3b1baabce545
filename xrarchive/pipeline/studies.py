"""Reader studies: an archive and real films in, pages for readers out; their answers in, a score out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from xrarchive.records import OnStatus, ignore_status

if TYPE_CHECKING:
    from xrarchive.study.coverage import SimulationReport
    from xrarchive.study.making import StudyPlan, StudyReport
    from xrarchive.study.models import ReaderModel
    from xrarchive.study.protocol import Protocol
    from xrarchive.study.scoring import ScoreReport


def make_study(
    archive_dir: Path,
    set_dir: Path,
    out: Path,
    protocol: Protocol,
    *,
    sizes_px: Sequence[int] = (),
    confirm: Callable[[StudyPlan], bool],
    on_status: OnStatus = ignore_status,
) -> StudyReport | None:
    """Make a blinded reader study; see `xrarchive.study.making.make_study`."""
    from xrarchive.study import making

    return making.make_study(
        archive_dir, set_dir, out, protocol, sizes_px=sizes_px, confirm=confirm, on_status=on_status
    )


def score_study(
    study_dir: Path, results: Sequence[Path], *, out: Path | None = None, accept: Sequence[str] = (), seed: int = 0
) -> ScoreReport:
    """Score a reader study; see `xrarchive.study.scoring.score_study`."""
    from xrarchive.study import scoring

    return scoring.score_study(study_dir, results, out=out, accept=accept, seed=seed)


def simulate_study(
    study_dir: Path,
    out: Path,
    model: ReaderModel,
    *,
    studies: int | None = None,
    seed: int = 0,
    on_status: OnStatus = ignore_status,
) -> SimulationReport:
    """Write results of simulated readers of a study; see `xrarchive.study.coverage.simulate_study`.

    Args:
        study_dir: Folder of the study.
        out: Folder for the results, made if needed.
        model: What the readers are like.
        studies: Also simulate and score so many studies of this size, and say how often the intervals held the truth.
        seed: Same seed, same results.
        on_status: Told of every study.
    """
    from xrarchive.study import coverage

    return coverage.simulate_study(study_dir, out, model, studies=studies, seed=seed, on_status=on_status)
