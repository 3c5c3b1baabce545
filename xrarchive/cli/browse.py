"""`xrarchive browse`."""

from __future__ import annotations

from pathlib import Path

import click

from xrarchive.cli.options import FILE, example, json_option
from xrarchive.cli.output import emit, fields
from xrarchive.cli.progress import progress
from xrarchive.settings import load_project


@click.command(
    epilog=example(
        "xrarchive browse archive --where \"label == 'Edema' and judge_Edema < .1\"",
        "xrarchive browse archive --out look.html",
    )
)
@click.argument("archive", metavar="[DIR]", required=False)
@click.option("--out", metavar="FILE", type=FILE, help="The page.  [default: the archive's name, in this folder]")
@click.option("--where", metavar="EXPR", help="Only images for which this holds, as in `withdraw --where`.")
@click.option("--images", metavar="N", type=click.IntRange(1), help="At most so many.  [default: what fits into 85 MB]")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of the draw, if not all fit.")
@json_option("out, rows, fitting, images, bytes, manifest_sha256")
def browse(
    as_json: bool, archive: str | None, out: Path | None, where: str | None, images: int | None, seed: int
) -> None:
    """Write a page to look through an archive: pictures, filters, provenance; one file, no network.

    DIR is a folder, or OWNER/NAME@REVISION on the Hub.
    """
    from xrarchive import pipeline

    with progress("browse") as on_status:
        report = pipeline.browse(
            archive or load_project(Path()).build.out, out, where=where, images=images, seed=seed, on_status=on_status
        )
    emit("browse", report, fields, as_json=as_json)
