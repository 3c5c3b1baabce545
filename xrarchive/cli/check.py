"""`xrarchive check`."""

from __future__ import annotations

from pathlib import Path

import click

from xrarchive.cli.options import FILE, FOLDER, example, json_option, part
from xrarchive.cli.output import Result, emit, escape, say
from xrarchive.cli.progress import progress
from xrarchive.errors import EXIT_OK, DamageError
from xrarchive.settings import load_project


@click.command(epilog=example("xrarchive check archive --read-data", "xrarchive check archive --regenerate 10"))
@click.argument("archive", metavar="[DIR]", type=FOLDER, required=False)
@click.option("--read-data", is_flag=True, help="Hash every byte, not only look at the structure.")
@click.option("--read-data-subset", metavar="I/N", type=part, help="Hash the I-th of N parts, a different one a day.")
@click.option("--decode", is_flag=True, help="Decode every image and compare its pixels' hash.")
@click.option(
    "--regenerate", metavar="N", type=click.IntRange(min=1), default=None, help="Make N images again, compare."
)
@click.option("--generator", metavar="W", type=FILE, help="For --regenerate.  [default: bundled]")
@click.option("--signers", metavar="KEYS", type=FILE, help="Public SSH keys, one of which must have signed it.")
@json_option(
    "ok, problems (id, path, message), files, rows, manifest_sha256, read_data, hashed_bytes, regenerated, signed_by"
)
def check(
    as_json: bool,
    archive: Path | None,
    read_data: bool,
    read_data_subset: tuple[int, int] | None,
    decode: bool,
    regenerate: int | None,
    generator: Path | None,
    signers: Path | None,
) -> int:
    """Compare an archive with its manifest. Exit code 6 if anything differs."""
    from xrarchive import pipeline

    folder = archive or load_project(Path()).build.out
    with progress("check") as on_status:
        report = pipeline.check(
            folder,
            read_data=read_data or read_data_subset is not None,
            part=read_data_subset or (1, 1),
            decode=decode,
            regenerate=regenerate or 0,
            generator=generator,
            signers=signers,
            on_status=on_status,
        )
    emit("check", report, _show, as_json=as_json, ok=report.sound)
    return EXIT_OK if report.sound else DamageError.code


def _show(result: Result) -> None:
    for problem in result["problems"]:
        say(f"{problem['path']}: {problem['message']}")
    if again := result["regenerated"]:
        say(f"{again['identical']} of {again['count']} images made again are the stored ones bit for bit.")
        if again["least_psnr_db"] is not None:
            say(
                f"The others are at {again['least_psnr_db']} dB or better; at least 50 is expected of other processors."
            )
        for name, (there, here) in again["versions"].items():
            say(f"{name} was {there} when the archive was built and is {here} here.")
    if result["signed_by"] is not None:
        say(f"The manifest was signed by {escape(result['signed_by'])}.")
    count = len(result["problems"])
    say("No problem found." if not count else f"{count} problem{'s' if count > 1 else ''} found.")
