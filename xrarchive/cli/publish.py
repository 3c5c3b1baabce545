"""`xrarchive publish`."""

from __future__ import annotations

import datetime
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from xrarchive.cli.failures import missing
from xrarchive.cli.options import FILE, FOLDER, example, json_option, weights_options
from xrarchive.cli.output import Result, cell, emit, escape, say, table
from xrarchive.cli.progress import amount, progress
from xrarchive.errors import EXIT_INTERRUPTED, EXIT_OK
from xrarchive.settings import PublishSettings, load_project, require, resolve


@click.command(
    epilog=example(
        "xrarchive publish archive me/synthetic-chests --version 1.0.0 --dry-run",
        "xrarchive publish archive me/synthetic-chests --version 1.0.0 --yes",
        'xrarchive publish me/synthetic-chests --retract v1.0.0 --reason "Labels of two findings were swapped."',
    )
)
@click.argument("archive", metavar="[DIR]", type=FOLDER, required=False)
@click.argument("repo", metavar="[REPO]", required=False)
@click.option(
    "--version",
    metavar="X.Y.Z",
    help="Becomes the tag vX.Y.Z, which never changes.  [default: the next that fits what changed]",
)
@click.option("--model-repo", metavar="REPO", help="Where the weights go.  [default: the name of the dataset]")
@click.option("--no-weights", is_flag=True, default=None, help="Publish no weights.")
@weights_options("generator", "guide", "judge")
@click.option("--private", is_flag=True, default=None, help="New repositories are private.")
@click.option(
    "--gated", type=click.Choice(["auto", "manual"]), help="Whoever wants the data must ask, and is let in so."
)
@click.option(
    "--i-have-permission",
    "permission",
    metavar="TEXT",
    default="",
    help="Who permitted what the terms alone do not, and where that is written. Published with the tag.",
)
@click.option("--to", metavar="FOLDER", type=FOLDER, help="A folder or mounted share to publish into, not a Hub.")
@click.option("--sign", metavar="KEY", type=FILE, help="Private SSH key to sign the manifest with.")
@click.option("--retract", metavar="vX.Y.Z", help="Mark a published version of REPO as taken back.")
@click.option("--reason", metavar="TEXT", help="Why, for all who used it; with --retract.")
@click.option("--dry-run", is_flag=True, help="Check everything, show the plan, send nothing.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option("the plan with --dry-run (dataset, model, tag), else the receipt (repo, tag, commit, already_published)")
def publish(
    as_json: bool,
    archive: Path | None,
    dry_run: bool,
    yes: bool,
    permission: str,
    retract: str | None,
    reason: str | None,
    **flags: Any,
) -> int:
    """Publish a validated archive to a Hub, as one commit and one tag.

    One argument alone is DIR, with --retract it is REPO. The Hub is the one HF_ENDPOINT names, the token the one of
    `hf auth login` or HF_TOKEN.
    """
    from xrarchive import pipeline

    project = load_project(Path())
    if retract or reason:
        return _retract(project.publish, flags["repo"] or archive, flags["to"], retract, reason, yes, dry_run, as_json)
    weights = {role: flags.pop(role) or getattr(project.build, role) for role in ("generator", "guide", "judge")}
    chosen = resolve(project.publish, **flags)
    repo = require(chosen.repo, "REPO", "publish.repo")
    ask = _ask_or_not(yes=yes or dry_run, as_json=as_json)
    with progress("publish") as on_status:
        done = pipeline.publish(
            archive or project.build.out,
            repo,
            version=chosen.version,
            model_repo=chosen.model_repo,
            no_weights=chosen.no_weights,
            private=chosen.private,
            gated=chosen.gated,
            permission=permission,
            to=chosen.to,
            sign=chosen.sign,
            radiographs=tuple(folder for folder in project.validate.radiographs or () if folder.is_dir()),
            **weights,
            dry_run=dry_run,
            confirm=ask,
            on_status=on_status,
        )
    if done is None:
        click.echo("Nothing was published.", err=True)
        return EXIT_INTERRUPTED
    emit("publish-plan" if dry_run else "publish", done, _show_plan if dry_run else _show_receipt, as_json=as_json)
    return EXIT_OK


def _retract(
    section: PublishSettings,
    name: Path | str | None,
    to: Path | None,
    version: str | None,
    reason: str | None,
    yes: bool,
    dry_run: bool,
    as_json: bool,
) -> int:
    from xrarchive import pipeline

    if not (version and reason) or dry_run:
        raise click.UsageError("--retract and --reason go together, without --dry-run.")
    repo = require(str(name) if name else section.repo, "REPO", "publish.repo")
    if not yes:
        if as_json or not stdin_is_terminal():
            raise missing("--yes")
        click.echo(escape(f"{repo} {version} will be marked as retracted: {reason}"), err=True)
        if not click.confirm("Retract?", err=True):
            return EXIT_INTERRUPTED
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    done = pipeline.retract(repo, version, reason=reason, date=today, to=to or section.to)
    emit("retract", done, _show_retraction, as_json=as_json)
    return EXIT_OK


def _show_retraction(result: Result) -> None:
    state = "was retracted before" if result["already_retracted"] else "is retracted"
    say(f"{result['repo']} {result['tag']} {state}: {result['reason']}", result["stays"])


def stdin_is_terminal() -> bool:
    """Whether somebody is there to answer."""
    return sys.stdin.isatty()


def _ask_or_not(*, yes: bool, as_json: bool) -> Callable[[Any], bool]:
    if yes:
        return lambda _plan: True
    if as_json or not stdin_is_terminal():
        raise missing("--yes")
    return _ask


def _ask(plan: Any) -> bool:
    told = plan.as_dict()
    for content in (told["model"], told["dataset"]):
        if content:
            size = amount(content["bytes"], "bytes")
            line = f"{content['kind']} {content['repo']}: {len(content['files'])} files, {size}, tag {told['tag']}"
            click.echo(escape(line), err=True)
    for line in _remarks(told):
        click.echo(escape(line), err=True)
    return click.confirm("Publish?", err=True)


def _remarks(told: Result) -> list[str]:
    kept = [f"Weights kept back: {reason}" for reason in told["withheld"]]
    return [*kept, *told["notes"]]


def _show_plan(result: Result) -> None:
    for content in (result["model"], result["dataset"]):
        if content:
            say(f"{content['kind']} {content['repo']}, tag {result['tag']}")
            rows = [(item["path"], amount(item["bytes"], "bytes"), item["sha256"][:12]) for item in content["files"]]
            table(["file", "size", "sha256"], rows)
            say("")
    say(*map(escape, _remarks(result)), "Nothing was sent.")


def _show_withheld(result: Result) -> None:
    if result["withheld"]:
        say("The weights are kept back:", *(f"  {gate}" for gate in result["withheld"]))


def _show_receipt(result: Result) -> None:
    state = "was published already" if result["already_published"] else "is published"
    say(f"{result['repo']} {cell(result['tag'])} {state}: {_where(result)}")
    _show_withheld(result)
    if result["model"]:
        say(f"{result['model']['repo']} holds the weights: {_where(result['model'])}")
    say(f"Load it with: {result['load']}")


def _where(result: Result) -> str:
    return f"commit {result['commit']}" if result["commit"] else str(result["folder"])
