"""Result files: what a page saves, read back and held against the study.

In: paths. Out: one `Result` a reader. A file is text from outside: its size, its fields and every answer are checked
before anything is counted, and its checksum shows whether it is what the page saved.

What the checksum is worth: it is summed under a token that is in the reader's page and in the key, so it finds damage
and edits by anyone without the page; a reader who wants to cheat has the page, and no file can prevent that.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

from xrarchive.errors import DamageError, InputDataError, XrArchiveError
from xrarchive.files import sha256_bytes
from xrarchive.study.arranging import Trial
from xrarchive.study.folder import Key, Study
from xrarchive.study.protocol import RATINGS, REVIEW_ANSWERS, REVIEW_ITEMS

SCHEMA = "xrarchive.study-result/1"
# What may be taken although something is wrong with it, each only where it is named.
ACCEPTABLE = ("partial", "tampered", "doubled")
_MAX_BYTES = 20 << 20
_MAX_NOTE, _MAX_COMMENT = 1_000, 4_000
_MAX_MS = 2**31
_MAX_YEARS = 80
_ROLES = ("", "radiologist", "resident", "physician", "other")
_SAVE_AGAIN = "Ask the reader to save the results again from the page."


@dataclass(frozen=True)
class Answer:
    """What a reader said to one trial.

    Attributes:
        rating: 1 certainly real to 6 certainly synthetic; None if not asked.
        synthetic: Of a pair the image taken for synthetic; empty if not asked.
        findings: Ticked.
        items: Of a review an answer for each item; () if not asked.
        ms: Time the film was looked at, pauses left out.
        note: In the reader's words: text from outside.
    """

    rating: int | None
    synthetic: str
    findings: tuple[str, ...]
    items: tuple[str, ...]
    ms: int
    note: str


@dataclass(frozen=True)
class Result:
    """One reader's answers, in the order of their trials; fewer than trials if the reader stopped.

    Attributes:
        path: Of the file.
        reader: Who.
        role: What the reader says to be, maybe empty.
        years: Of experience, None if not said.
        comment: Text from outside.
        answers: To the first trials.
        problems: Those of `ACCEPTABLE` that hold, and were accepted.
    """

    path: Path
    reader: str
    role: str
    years: int | None
    comment: str
    answers: tuple[Answer, ...]
    problems: tuple[str, ...]


def canonical(result: Mapping[str, Any]) -> bytes:
    """The bytes that are summed: JSON as a browser's `JSON.stringify` writes it, in the order of the file."""
    content = {name: value for name, value in result.items() if name != "checksum"}
    return json.dumps(content, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def checksum(result: Mapping[str, Any], token: str) -> str:
    """Sha256 under a reader's token."""
    return sha256_bytes(f"{token}\n".encode() + canonical(result))


def read_results(paths: Sequence[Path], study: Study, key: Key, *, accept: Sequence[str] = ()) -> list[Result]:
    """The results in `paths`, in the order of the study's readers.

    Args:
        paths: Files that pages saved.
        study: They must belong to.
        key: Of that study.
        accept: Of `ACCEPTABLE` what is taken all the same: files that stop before the last case (`partial`) or are not
            what a page saved (`tampered`); of several by one reader (`doubled`) the one named last.

    Raises:
        ValueError: If `accept` holds something else.
        InputDataError: For no file, one that is no result, of another study, of an unknown reader; or for partial or
            doubled ones that were not accepted.
        DamageError: For tampered ones that were not accepted.
    """
    if unknown := set(accept) - set(ACCEPTABLE):
        raise ValueError(f"accept may hold {ACCEPTABLE}, got {sorted(unknown)}")
    if not paths:
        raise InputDataError("There is no result file.", fix="Name the files that the readers' pages saved.")
    by_reader: dict[str, Result] = {}
    for path in paths:
        result = _read(path, study, key, accept)
        if result.reader in by_reader and "doubled" not in accept:
            raise InputDataError(
                f"{path} and {by_reader[result.reader].path} are both of {result.reader}.",
                fix="Leave one out, or take the one named last with --accept doubled.",
                path=path,
            )
        by_reader[result.reader] = result
    return [by_reader[reader] for reader in study.trials if reader in by_reader]


def _read(path: Path, study: Study, key: Key, accept: Sequence[str]) -> Result:
    value = _load(path)
    if value.get("schema") != SCHEMA:
        raise _wrong(path, f"its schema is {_short(value.get('schema'))}, expected {SCHEMA!r}")
    if value.get("study") != study.sha256:
        raise InputDataError(
            f"{path} belongs to another study: it names {_short(value.get('study'))}, this one is "
            f"{study.sha256[:12]!r}.",
            fix="Score it with the study its page was made for.",
            path=path,
        )
    reader = value.get("reader")
    if not isinstance(reader, str) or reader not in study.trials:
        raise _wrong(path, f"its reader is {_short(reader)}, expected one of {', '.join(study.trials)}")
    problems = []
    if value.get("checksum") != checksum(value, key.tokens[reader]):
        problems.append("tampered")
    answers = _answers(path, value, study, reader)
    if len(answers) < len(study.trials[reader]):
        problems.append("partial")
    for problem in problems:
        if problem not in accept:
            raise _refusal(problem, path, len(answers), len(study.trials[reader]))
    return Result(path, reader, *_about(path, value), answers, tuple(problems))


def _load(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise _wrong(path, f"it is larger than {_MAX_BYTES:,} bytes")
        value = json.loads(path.read_bytes())
    except OSError as err:
        reason = (err.strerror or "unreadable").lower()
        raise InputDataError(f"Cannot read {path}: {reason}.", fix="Correct the path.", path=path) from err
    except (ValueError, RecursionError) as err:
        raise _wrong(path, f"it is not JSON ({str(err)[:80]})") from err
    if not isinstance(value, dict):
        raise _wrong(path, "it is not a JSON object")
    try:
        canonical(value)
    except (ValueError, RecursionError) as err:
        raise _wrong(path, "it holds numbers or text no browser writes") from err
    return value


def _refusal(problem: str, path: Path, answers: int, trials: int) -> XrArchiveError:
    if problem == "partial":
        return InputDataError(
            f"{path} stops after {answers} of {trials} cases.",
            fix="Have the reader finish, or score what is there with --accept partial.",
            path=path,
        )
    return DamageError(
        f"{path} is not what the page saved: its checksum is not that of its content.",
        fix=f"{_SAVE_AGAIN} To score it all the same: --accept tampered.",
        path=path,
    )


def _about(path: Path, value: Mapping[str, Any]) -> tuple[str, int | None, str]:
    role, years, comment = value.get("role"), value.get("years"), value.get("comment")
    if role not in _ROLES:
        raise _wrong(path, f"the role is {_short(role)}")
    if years is not None and not (_is_int(years) and 0 <= years <= _MAX_YEARS):
        raise _wrong(path, f"the years are {_short(years)}, expected 0 to {_MAX_YEARS} or null")
    if not isinstance(comment, str) or len(comment) > _MAX_COMMENT:
        raise _wrong(path, f"the comment is no text of at most {_MAX_COMMENT:,} characters")
    return role, years, comment


def _answers(path: Path, value: Mapping[str, Any], study: Study, reader: str) -> tuple[Answer, ...]:
    found, trials = value.get("answers"), study.trials[reader]
    if not isinstance(found, list) or len(found) > len(trials):
        raise _wrong(path, f"its answers are no list of at most {len(trials)}")
    return tuple(
        _answer(path, number, each, trial, study)
        for number, (each, trial) in enumerate(zip(found, trials, strict=False))
    )


def _answer(path: Path, number: int, value: Any, trial: Trial, study: Study) -> Answer:
    where = f"answer {number + 1}"
    if not isinstance(value, dict) or value.get("trial") != number or isinstance(value.get("trial"), bool):
        raise _wrong(path, f"{where} is not that of case {number + 1}")
    ms, note = value.get("ms"), value.get("note")
    if not _is_int(ms) or not 0 <= ms < _MAX_MS:
        raise _wrong(path, f"{where} took {_short(ms)} ms")
    if not isinstance(note, str) or len(note) > _MAX_NOTE:
        raise _wrong(path, f"the remark of {where} is no text of at most {_MAX_NOTE:,} characters")
    protocol, rating, synthetic = study.protocol, None, ""
    if protocol.layout == "pairs":
        synthetic = str(value.get("synthetic"))
        if synthetic not in trial.images:
            raise _wrong(path, f"{where} names {_short(synthetic)}, which is not in that pair")
    elif protocol.asks_realism:
        rating = value.get("rating")
        if not _is_int(rating) or not 1 <= rating <= RATINGS:
            raise _wrong(path, f"{where} rates {_short(rating)}, expected 1 to {RATINGS}")
    findings = _words(path, where, value, "findings", study.findings) if protocol.asks_findings else ()
    items: tuple[str, ...] = ()
    if protocol.task == "review":
        items = _words(path, where, value, "items", REVIEW_ANSWERS, len(REVIEW_ITEMS))
    return Answer(rating, synthetic, findings, items, ms, note)


def _words(
    path: Path, where: str, value: Mapping[str, Any], name: str, known: Sequence[str], count: int | None = None
) -> tuple[str, ...]:
    found = value.get(name)
    if not isinstance(found, list) or any(word not in known for word in found):
        raise _wrong(path, f"the {name} of {where} are {_short(found)}, expected words of {', '.join(known)}")
    if (count is not None and len(found) != count) or (count is None and len(set(found)) != len(found)):
        raise _wrong(path, f"the {name} of {where} are {len(found)}, expected {count or 'each once'}")
    return tuple(found)


def _is_int(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:36]} …"


def _wrong(path: Path, why: str) -> InputDataError:
    return InputDataError(f"{path} is no result of a reader study: {why}.", fix=_SAVE_AGAIN, path=path)
