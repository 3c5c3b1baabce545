"""Score a study: the folder of `make_study` and result files come in; score.json, a table and a report go out.

score.json names the study and the archive's manifest by their sha256; the same results give the same bytes.
"""

from __future__ import annotations

import csv
import dataclasses
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xrarchive.archive.exporting.folder import cell
from xrarchive.bootstrap import LEVEL
from xrarchive.errors import GateError, InputDataError
from xrarchive.files import read_json, write_bytes, write_json
from xrarchive.study.folder import Key, Study, read_study
from xrarchive.study.intervals import RESAMPLES
from xrarchive.study.labels import measure_findings
from xrarchive.study.protocol import FIRST_SYNTHETIC_RATING
from xrarchive.study.readings import Readings, case_of, is_correct, read_readings
from xrarchive.study.realism import measure_realism
from xrarchive.study.report import card_section, render_score
from xrarchive.study.results import Result, read_results
from xrarchive.study.review import measure_review

SCHEMA = "xrarchive.study-score/1"
SCORE_NAME, READS_NAME, REPORT_NAME = "score.json", "reads.csv", "report.html"


@dataclass(frozen=True)
class ScoreReport:
    """Where the score went, and what it says.

    Attributes:
        out: The folder.
        files: In it.
        score: The content of score.json.
    """

    out: Path
    files: tuple[Path, ...]
    score: dict[str, Any]


def score_study(
    study_dir: Path, results: Sequence[Path], *, out: Path | None = None, accept: Sequence[str] = (), seed: int = 0
) -> ScoreReport:
    """Score a study and write what was found.

    Args:
        study_dir: Folder of the study.
        results: Files that the readers' pages saved.
        out: Folder for the outputs, made if needed; None for `score` in the study's folder.
        accept: What may be wrong with result files (see `results.read_results`).
        seed: Of the intervals.

    Raises:
        InputDataError: If there is no study, or a result cannot be used.
        DamageError: If study, key or a result was changed.
        StorageError: If the disk refuses.
    """
    study, key = read_study(study_dir)
    found = read_results(results, study, key, accept=accept)
    score = make_score(study, key, found, seed=seed)
    folder = study_dir / "score" if out is None else out
    write_json(folder / SCORE_NAME, score)
    write_bytes(folder / READS_NAME, write_reads(study, key, found))
    write_bytes(folder / REPORT_NAME, render_score(score).encode())
    return ScoreReport(folder, tuple(folder / name for name in (SCORE_NAME, READS_NAME, REPORT_NAME)), score)


def read_card_section(path: Path, manifest_sha256: str) -> str:
    """The section of a card that a score.json gives to the archive that was read.

    Raises:
        InputDataError: If there is no score.
        DamageError: If it is not JSON.
        GateError: If another archive was read.
    """
    score = read_json(path, what="score of a reader study", fix="Make it with `xrarchive study score`.")
    if not isinstance(score, dict) or score.get("schema") != SCHEMA:
        raise InputDataError(f"{path} is no {SCHEMA}.", fix="Make it with `xrarchive study score`.", path=path)
    if score["manifest_sha256"] != manifest_sha256:
        raise GateError(
            f"{path} is about the archive {score['manifest_sha256'][:12]}, this one is {manifest_sha256[:12]}.",
            fix="Name the score of a study of this archive.",
            path=path,
        )
    return card_section(score)


def make_score(study: Study, key: Key, results: Sequence[Result], *, seed: int = 0) -> dict[str, Any]:
    """The content of score.json."""
    readings, protocol = read_readings(results, study, key), study.protocol
    pairs = protocol.layout == "pairs"
    score: dict[str, Any] = {
        "schema": SCHEMA,
        "study_sha256": study.sha256,
        "manifest_sha256": study.manifest_sha256,
        "set_sha256": study.set_sha256,
        "title": protocol.title,
        "task": protocol.task,
        "design": protocol.layout,
        "technical": protocol.technical,
        "sizes_px": list(study.sizes_px),
        "cases": len(readings.cases),
        "films": {"synthetic": int(readings.synthetic.sum()), "real": _real(readings, pairs=pairs)},
        "readers": [_about(result, study) for result in results],
        "settings": {"seed": seed, "resamples": RESAMPLES, "level": LEVEL, "margin": protocol.margin},
        "power": dataclasses.asdict(study.power),
        "leaks": [dataclasses.asdict(leak) for leak in study.leaks],
        "statistics": [dataclasses.asdict(leak) for leak in study.statistics],
        "remarks": list(_remarks(study, key, results)),
    }
    if protocol.asks_realism:
        score["realism"] = measure_realism(readings, pairs=pairs, margin=protocol.margin, seed=seed)
    if protocol.task in ("findings", "both"):
        score["findings"] = measure_findings(readings, study.findings, seed=seed)
    if protocol.task == "review":
        score["review"] = measure_review(readings, study.findings, key.lifts, seed=seed)
    return score


def write_reads(study: Study, key: Key, results: Sequence[Result]) -> bytes:
    """Every answer as a row of CSV, with the truth beside it; text cannot act as a formula."""
    stream = io.StringIO()
    rows = list(_reads(study, key, results))
    # All text in quotes: a lone carriage return would else end a row.
    writer = csv.writer(stream, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
    writer.writerow(rows[0] if rows else [])
    writer.writerows([cell(value) for value in row.values()] for row in rows)
    return stream.getvalue().encode()


def _reads(study: Study, key: Key, results: Sequence[Result]) -> Iterator[dict[str, Any]]:
    for result in results:
        for number, (trial, answer) in enumerate(zip(study.trials[result.reader], result.answers, strict=False), 1):
            case = case_of(trial, key) if len(trial.images) == 1 else ""
            images = [case] if case else list(trial.images)
            entry = key.images[images[0]]
            correct = is_correct(answer, trial, key)
            yield {
                "reader": result.reader,
                "case": number,
                "part": trial.part,
                "images": images,
                "kinds": [key.images[image].kind for image in images],
                "sources": [key.images[image].source for image in images],
                "finding": entry.finding,
                "size_px": entry.size_px,
                "rating": answer.rating,
                "called": _called(answer.rating, answer.synthetic),
                "correct": None if correct != correct else int(correct),
                "seen": list(answer.findings),
                "items": list(answer.items),
                "seconds": answer.ms / 1000,
                "note": answer.note,
            }


def _called(rating: int | None, synthetic: str) -> str:
    if rating is None:
        return synthetic
    return "synthetic" if rating >= FIRST_SYNTHETIC_RATING else "real"


def _about(result: Result, study: Study) -> dict[str, Any]:
    return {
        "name": result.reader,
        "role": result.role,
        "years": result.years,
        "answers": len(result.answers),
        "of": len(study.trials[result.reader]),
        "problems": list(result.problems),
        "comment": result.comment,
    }


def _real(readings: Readings, *, pairs: bool) -> int:
    return len(readings.cases) if pairs else int((~readings.synthetic).sum())


def _remarks(study: Study, key: Key, results: Sequence[Result]) -> Iterator[dict[str, Any]]:
    for result in results:
        for number, (trial, answer) in enumerate(zip(study.trials[result.reader], result.answers, strict=False), 1):
            if answer.note.strip():
                kinds = [key.images[image].kind for image in trial.images]
                yield {"reader": result.reader, "case": number, "kinds": kinds, "text": answer.note}
