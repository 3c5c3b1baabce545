"""Make a study: an archive and a radiograph set come in, the folder described in the package goes out.

Why it asks first: the readers' pages hold real films. That is the only way in which a scan leaves the publisher's
machine, and it needs a yes; where the terms of the set forbid it there is no yes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from xrarchive.archive.manifest import Manifest, read_manifest
from xrarchive.bootstrap import make_rng
from xrarchive.errors import GateError, SettingsError
from xrarchive.files import atomic_folder, dump_json, sha256_bytes
from xrarchive.findings import NO_FINDING
from xrarchive.radiographs.table import RadiographSet, open_set
from xrarchive.records import OnStatus, Status, ignore_status
from xrarchive.study.arranging import Slot, arrange, make_slots
from xrarchive.study.folder import KEY_NAME, READERS_FOLDER, Key, KeyEntry, Study, write_study
from xrarchive.study.leaks import Leak, measure_container, measure_statistics, require_tight
from xrarchive.study.pages import film_block, write_page
from xrarchive.study.power import Power, plan_power
from xrarchive.study.presenting import encode_films, present
from xrarchive.study.protocol import Protocol, require_reading_size
from xrarchive.study.selecting import REAL, Couple, Film, choose_couples, label_lifts
from xrarchive.terms import require_terms

_MAX_PX, _MIN_PX = 1024, 8


@dataclass(frozen=True)
class StudyPlan:
    """What is about to be made, for whoever must say yes.

    Attributes:
        real: Real films that would leave this machine inside the pages.
        synthetic: Synthetic films beside them.
        patients: Whose films those are: one film each.
        readers: Pages.
        terms: Notices of the real films' terms, or a sentence where none are recorded.
        power: From the planner.
    """

    real: int
    synthetic: int
    patients: int
    readers: int
    terms: tuple[str, ...]
    power: Power


@dataclass(frozen=True)
class StudyReport:
    """What `make_study` gave.

    Attributes:
        out: The study's folder.
        sha256: Names the study.
        pages: What to give to readers, a page each.
        key: What to keep.
        page_bytes: Of one page.
        sizes_px: Sides of the films.
        findings: Couples that count, by finding.
        technical: Whether films are too small, or the study a trial for other reasons.
        power: From the planner.
        leaks: AUC of the container, by property.
        statistics: AUC of image statistics.
        plan: What leaves the machine.
    """

    out: Path
    sha256: str
    pages: tuple[Path, ...]
    key: Path
    page_bytes: int
    sizes_px: tuple[int, ...]
    findings: dict[str, int]
    technical: bool
    power: Power
    leaks: tuple[Leak, ...]
    statistics: tuple[Leak, ...]
    plan: StudyPlan


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
    """Make the study `out`. The same archive, set and protocol give the same bytes.

    Args:
        archive_dir: A finished archive.
        set_dir: A radiograph set whose labels name the archive's findings.
        out: New or empty folder; appears whole or not at all.
        protocol: What is asked of whom.
        sizes_px: Sides at which films are shown, none larger than archive and set hold; () for the largest of both.
        confirm: Shown what leaves the machine; nothing is written unless it says yes.
        on_status: Told of each step.

    Returns:
        What was made, or None if `confirm` said no.

    Raises:
        InputDataError: If archive and set are too few or too small for it.
        SettingsError: For sizes nobody has.
        GateError: If the set's terms forbid it, the films are too small to judge, or the container leaks.
        StorageError: If the disk refuses.
    """
    manifest, radiographs = read_manifest(archive_dir), open_set(set_dir)
    require_may_leave(radiographs)
    sizes = _sizes(tuple(sizes_px), manifest, radiographs)
    require_reading_size(protocol, sizes)
    on_status(Status(0, 4, "steps", "choosing films"))
    count, rng = protocol.couples + protocol.practice_couples, make_rng(protocol.seed, "study choice")
    couples = choose_couples(archive_dir, manifest, radiographs, count, rng)
    slots = make_slots([couple.finding for couple in couples], protocol, sizes)
    plan = _plan(slots, protocol, radiographs)
    if not confirm(plan):
        return None
    on_status(Status(1, 4, "steps", "films"))
    shown = [present(_film(couples, slot).pixels, slot.size_px) for slot in slots]
    arrangement = arrange(slots, protocol, protocol.seed)
    files = dict(zip(arrangement.ids, encode_films(shown), strict=True))
    on_status(Status(2, 4, "steps", "leak test"))
    leaks = _tested(slots, files, protocol)
    key = _key(couples, slots, arrangement.ids, protocol, label_lifts(radiographs, manifest.findings))
    study = Study(
        protocol=protocol,
        sizes_px=sizes,
        findings=tuple(name for name in manifest.findings if name != NO_FINDING),
        images={image: sha256_bytes(files[image]) for image in sorted(files)},
        trials=arrangement.trials,
        key_sha256=sha256_bytes(dump_json(key.as_dict())),
        manifest_sha256=manifest.sha256,
        set_sha256=radiographs.sha256,
        terms=radiographs.terms,
        power=plan.power,
        leaks=leaks,
        statistics=tuple(measure_statistics(slots, shown)),
    )
    on_status(Status(3, 4, "steps", "pages"))
    _write(out, study, key, files)
    on_status(Status(4, 4, "steps", "done"))
    return _report(out, study, couples, plan)


def _tested(slots: Sequence[Slot], files: Mapping[str, bytes], protocol: Protocol) -> tuple[Leak, ...]:
    """What the container gives away; refused if that is anything."""
    blocks = [(film_block(image, data), data) for image, data in files.items()]
    leaks = measure_container(slots, blocks, protocol, seed=protocol.seed)
    require_tight(leaks)
    return tuple(leaks)


def _write(out: Path, study: Study, key: Key, files: Mapping[str, bytes]) -> None:
    with atomic_folder(out) as temporary:
        (temporary / READERS_FOLDER).mkdir()
        for reader, token in key.tokens.items():
            write_page(temporary / READERS_FOLDER / f"{reader}.html", study, reader, token, files)
        write_study(temporary, study, key)


def require_may_leave(radiographs: RadiographSet) -> None:
    """Refuse films that may not be given on, to nobody.

    Raises:
        GateError: Naming the terms that forbid it.
    """
    for terms in require_terms(radiographs.terms):
        if not terms.may_leave:
            raise GateError(
                f"The films of {radiographs.folder} came under {terms.title}: {terms.notice} A reader's page would "
                "hold them.",
                fix="Make the study from films that may be given on, or have readers read on this machine with a set "
                "whose holder agreed in writing.",
                path=radiographs.folder,
            )


def _sizes(wanted: tuple[int, ...], manifest: Manifest, radiographs: RadiographSet) -> tuple[int, ...]:
    largest = min(manifest.size_px, radiographs.size_px, _MAX_PX)
    sizes = tuple(sorted(set(wanted))) or (largest,)
    if not _MIN_PX <= sizes[0] <= sizes[-1] <= largest:
        raise SettingsError(
            f"Films can be shown at {_MIN_PX} to {largest} px: the archive holds {manifest.size_px} px, the "
            f"radiographs {radiographs.size_px} px, and enlarging one side alone would give it away; found "
            f"{', '.join(map(str, sizes))}.",
            fix="Give smaller --sizes, or ingest the radiographs at a larger --size.",
        )
    return sizes


def _film(couples: Sequence[Couple], slot: Slot) -> Film:
    couple = couples[slot.couple]
    return couple.real if slot.kind == REAL else couple.synthetic


def _plan(slots: Sequence[Slot], protocol: Protocol, radiographs: RadiographSet) -> StudyPlan:
    real = sum(slot.kind == REAL for slot in slots)
    notices = tuple(terms.notice for terms in require_terms(radiographs.terms))
    unknown = ("The set records no terms: make sure that its films may be shown to your readers.",)
    power = plan_power(protocol.cases, protocol.readers, margin=protocol.margin)
    return StudyPlan(real, len(slots) - real, real, protocol.readers, notices or unknown, power)


def _key(
    couples: Sequence[Couple],
    slots: Sequence[Slot],
    ids: Sequence[str],
    protocol: Protocol,
    lifts: dict[str, dict[str, float]],
) -> Key:
    films = [_film(couples, slot) for slot in slots]
    images = {
        image: KeyEntry(film.kind, film.finding, slot.size_px, film.source, film.labels)
        for image, slot, film in zip(ids, slots, films, strict=True)
    }
    tokens = {name: make_rng(protocol.seed, "study token", name).bytes(16).hex() for name in protocol.reader_names}
    return Key(protocol.seed, images, tokens, lifts)


def _report(out: Path, study: Study, couples: Sequence[Couple], plan: StudyPlan) -> StudyReport:
    pages = tuple(out / READERS_FOLDER / f"{reader}.html" for reader in study.trials)
    counts: dict[str, int] = {}
    for couple in couples[: study.protocol.couples]:
        counts[couple.finding] = counts.get(couple.finding, 0) + 1
    return StudyReport(
        out=out,
        sha256=study.sha256,
        pages=pages,
        key=out / KEY_NAME,
        page_bytes=pages[0].stat().st_size,
        sizes_px=study.sizes_px,
        findings=counts,
        technical=study.protocol.technical,
        power=plan.power,
        leaks=study.leaks,
        statistics=study.statistics,
        plan=plan,
    )
