"""A validated archive in, its card and a published version out; or the word that a version is taken back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from xrarchive.archive.manifest import README_NAME, VALIDATION_NAME, read_manifest
from xrarchive.files import read_json, write_json
from xrarchive.records import OnStatus, ignore_status

if TYPE_CHECKING:
    from xrarchive.hub import Publication, Receipt, RetractionReceipt


def write_card(
    archive_dir: Path,
    *,
    study: Path | None = None,
    templates: Path | None = None,
    date: str | None = None,
    facts: Path | None = None,
) -> Path:
    """Write README.md and what goes with it: scorecard, citation, croissant.json and pictures.

    Args:
        archive_dir: Of the archive.
        study: score.json of a reader study of this archive, for a section of its own.
        templates: Folder of the publisher's own templates; one that is not there is ours.
        date: `YYYY-MM-DD` of the card; None = that of a card of the same manifest, else today, UTC.
        facts: File that gets all that templates may use, as JSON.

    Raises:
        InputDataError: If there is no archive, no validation or no such score, or a template cannot be filled.
        GateError: If the validation or the score belongs to another manifest.
    """
    from xrarchive.cards.writing import write_cards
    from xrarchive.study.scoring import read_card_section

    section = "" if study is None else read_card_section(study, read_manifest(archive_dir).sha256)
    told = write_cards(archive_dir, study=section, templates=templates, date=date)
    if facts is not None:
        write_json(facts, told)
    return archive_dir / README_NAME


def model_card(paths: Mapping[str, Path], *, dataset: str | None = None, archive_dir: Path | None = None) -> str:
    """The card of `generator`, `guide`, `judge` and, if it is there, `referee`, given by path.

    Args:
        paths: Weight files by role.
        dataset: Repository of the archive made with them.
        archive_dir: That archive, for what its validation says of the generator's images.
    """
    from xrarchive.cards.model import render_model_card
    from xrarchive.weights import read_meta

    metas = {
        role: read_meta(path, kind="generator" if role == "generator" else "classifier") for role, path in paths.items()
    }
    validation = None if archive_dir is None else archive_dir / VALIDATION_NAME
    report = (
        read_json(validation, what="validation", fix="Run `xrarchive validate` again.")
        if validation and validation.is_file()
        else None
    )
    return render_model_card(
        metas["generator"],
        metas["guide"],
        metas["judge"],
        dataset=dataset,
        referee=metas.get("referee"),
        report=report,
    )


def publish(
    archive_dir: Path,
    repo: str,
    *,
    version: str | None = None,
    model_repo: str | None = None,
    no_weights: bool = False,
    generator: Path | None = None,
    guide: Path | None = None,
    judge: Path | None = None,
    private: bool = False,
    gated: Literal["auto", "manual"] | None = None,
    permission: str = "",
    to: Path | None = None,
    sign: Path | None = None,
    radiographs: Sequence[Path] = (),
    dry_run: bool = False,
    confirm: Callable[[Publication], bool] = lambda _plan: True,
    on_status: OnStatus = ignore_status,
) -> Publication | Receipt | None:
    """Publish an archive, and its weights if they may be, under one version.

    Args:
        archive_dir: Built, validated, with its card.
        repo: ``owner/name`` of the dataset.
        version: ``X.Y.Z``, no lower than the archive's own, nor than the change since the last release demands; None =
            the lowest that is neither.
        model_repo: ``owner/name`` of the model repository; None = the dataset's own name, provided that the weights
            are at hand. Closed gates of the weights keep them back either way.
        no_weights: Publish none.
        generator: The weights the archive was built with; None = bundled.
        guide: As `generator`.
        judge: As `generator`.
        private: Whether new repositories are private.
        gated: Whether whoever asks is let in at once ("auto") or by hand ("manual"); None = everybody.
        permission: Who permitted what the terms of the films alone do not, and where that is written.
        to: A folder or mounted share to publish into, instead of a Hub.
        sign: SSH key to sign the manifest with, unless this is a dry run; see `xrarchive.archive.signing`.
        radiographs: Sets at hand, whose patients and films must be named in no text that goes up.
        dry_run: Check everything, send nothing. The Hub is asked what is there if there is a token for it.
        confirm: Asked with the plan before anything is sent.
        on_status: Told about hashing and uploads.

    Returns:
        The plan on a dry run, the receipt after publishing, None if `confirm` said no.

    Raises:
        GateError, SettingsError, DamageError, AccessError, PlanChangedError, RemoteError: See `xrarchive.hub`.
    """
    from xrarchive import hub
    from xrarchive.archive import signing
    from xrarchive.bundled import weights_path

    if sign is not None and not dry_run:
        signing.sign(archive_dir, sign)
    weights = {"generator": generator, "guide": guide, "judge": judge}
    paths = None if no_weights else {role: weights_path(role, path) for role, path in weights.items()}
    publication = hub.plan_publication(
        archive_dir,
        repo,
        version,
        model_repo=None if no_weights else model_repo or repo,
        weights=paths,
        model_card=model_card(paths, dataset=repo, archive_dir=archive_dir) if paths else None,
        weights_needed=model_repo is not None,
        access=hub.Access(private, gated, permission, inside=to is not None),
        ids={name for folder in radiographs for name in _identifiers(folder)},
        on_status=on_status,
    )
    if to is not None:
        if dry_run:
            return hub.look_at_folder(publication, to)
        return hub.publish_to_folder(publication, to, confirm=confirm, on_status=on_status)
    if dry_run:
        return hub.preflight_if_known(publication)
    return hub.publish(publication, confirm=confirm, on_status=on_status)


def _identifiers(set_dir: Path) -> set[str]:
    """Ids of the patients of a set and of their films, blank ones left out."""
    from xrarchive.radiographs import open_set

    radiographs = open_set(set_dir)
    films = (Path(name).name for name in radiographs.table["image"].to_pylist())
    return {*radiographs.known_patients.tolist(), *films} - {""}


def retract(repo: str, version: str, *, reason: str, date: str, to: Path | None = None) -> RetractionReceipt:
    """Mark a published version of a dataset as taken back; see `xrarchive.hub.retracting`.

    Args:
        repo: ``owner/name``.
        version: ``vX.Y.Z``.
        reason: Shown wherever the version is looked for.
        date: ``YYYY-MM-DD``.
        to: The folder it was published into; None = the Hub.
    """
    from xrarchive import hub

    if to is not None:
        return hub.retract_in_folder(to, repo, version, reason=reason, date=date)
    return hub.retract(repo, version, reason=reason, date=date)
