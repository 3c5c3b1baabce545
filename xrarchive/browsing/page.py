"""The page: one HTML file with style, program, pictures and rows inside.

In: a `Source` and where to write. Out: the file, and a `BrowseReport`. Pictures stand in blocks that browsers neither
run nor show; the program takes from them what is looked at. The page cannot reach a network: its policy allows nothing
but the one program and the one style in it, named by their hashes, and pictures from the page itself. Whatever names
and ids hold reaches it as JSON and is set as text.
"""

from __future__ import annotations

import base64
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import markupsafe

from xrarchive.archive.source import Source
from xrarchive.browsing.content import Columns, describe_archive, read_images
from xrarchive.browsing.selecting import select_rows
from xrarchive.errors import InputDataError
from xrarchive.files import atomic_open
from xrarchive.records import OnStatus, ignore_status
from xrarchive.reporting.inline import inline_json, page_policy

# Pictures in a block: a browser takes a block apart when one of its pictures is first looked at.
BLOCK = 250
_PAGE = Path(__file__).parent / "page"


@dataclass(frozen=True)
class BrowseReport:
    """What was written.

    Attributes:
        out: The page.
        rows: Images of the archive.
        fitting: Of these, those that the condition holds for.
        images: Of these, those that the page holds.
        bytes: Of the page.
        manifest_sha256: Identifies the archive.
    """

    out: Path
    rows: int
    fitting: int
    images: int
    bytes: int
    manifest_sha256: str


def write_page(
    source: Source,
    out: Path,
    *,
    where: str | None = None,
    images: int | None = None,
    seed: int = 0,
    on_status: OnStatus = ignore_status,
) -> BrowseReport:
    """Write the page of an archive; the same archive and arguments give the same bytes.

    Args:
        source: The archive.
        out: The HTML file, replaced if it is there.
        where: Only images that a condition holds for; see `xrarchive.archive.conditions`.
        images: At most so many; None = as many as make a page of about 85 MB.
        seed: Of the draw, if not all fit.
        on_status: Told of each shard.

    Raises:
        InputDataError: If `out` would be among the archive's own files, or no image fits the condition.
        StorageError, DamageError: See their descriptions.
    """
    name = Path(source.name).name if Path(source.name).is_dir() else source.name
    if Path(source.name).is_dir() and Path(source.name).resolve() in out.resolve().parents:
        raise InputDataError(
            f"{out} would be a file of the archive itself.", fix="Write the page elsewhere with --out.", path=out
        )
    chosen = select_rows(source, where=where, images=images, seed=seed)
    about = describe_archive(source, name) | {
        "block": BLOCK,
        "where": where,
        "fitting": chosen.fitting,
        "drawn": len(chosen.rows) < chosen.fitting,
        "seed": seed,
    }
    columns: Columns = {}
    with atomic_open(out) as stream:
        stream.write(_head(f"{name}, version {source.manifest.version}").encode())
        pictures = read_images(source, chosen.rows, columns, on_status)
        for block in _blocks(pictures):
            stream.write(block)
        data = inline_json({**about, "images": columns})
        stream.write(f'<script type="application/json" id="data">{data}</script>\n'.encode())
        stream.write(f"<script>{_read('browse.js')}</script>\n</body>\n</html>\n".encode())
        written = stream.tell()
    return BrowseReport(out, source.manifest.rows, chosen.fitting, len(chosen.rows), written, source.manifest.sha256)


def _blocks(pictures: Iterator[bytes]) -> Iterator[bytes]:
    """Blocks of base64, a picture a line, as they stand in the page."""
    while block := list(itertools.islice(pictures, BLOCK)):
        lines = b"\n".join(map(base64.b64encode, block))
        yield b'<script type="text/plain" class="pictures">' + lines + b"</script>\n"


def _head(title: str) -> str:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_PAGE), undefined=jinja2.StrictUndefined, autoescape=True
    )
    style = _read("browse.css")
    policy = page_policy(style, _read("browse.js"))
    slots: dict[str, Any] = {"policy": policy, "title": title, "style": markupsafe.Markup(style)}  # our own file
    return environment.get_template("browse.html").render(slots) + "\n"


def _read(name: str) -> str:
    return (_PAGE / name).read_text(encoding="utf-8")
