"""A reader's page: one HTML file with films, questions and program inside, and nothing about which film is what.

In: the study, the reader and the files of the films. Out: the page. Films stand in the order of their ids, each in a
block of the same length, so that a page of any size is written and read piece by piece.

The page runs from a disk without a network, and cannot reach one: its policy allows nothing but the one program and the
one style in it, named by their hashes, and pictures from the page itself.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2
import markupsafe

from xrarchive.files import atomic_open
from xrarchive.reporting.inline import inline_json, page_policy
from xrarchive.study.arranging import PRACTICE
from xrarchive.study.folder import Study
from xrarchive.study.protocol import REVIEW_ANSWERS, REVIEW_ITEMS

_PAGE = Path(__file__).parent / "page"


def film_block(image: str, data: bytes) -> str:
    """A film as it stands in a page; browsers neither run nor show it."""
    return f'<script type="text/plain" id="{image}">{base64.b64encode(data).decode()}</script>\n'


def write_page(path: Path, study: Study, reader: str, token: str, files: Mapping[str, bytes]) -> None:
    """Write a reader's page; the same study and files give the same bytes.

    Args:
        path: Of the page.
        study: Whose sha256 the page carries into the results.
        reader: One of the study's.
        token: Under which the page sums its results.
        files: PNG of every image by id.

    Raises:
        StorageError: If the disk refuses.
    """
    with atomic_open(path) as stream:
        stream.write(_head(study.protocol.title).encode())
        for image in sorted(files):
            stream.write(film_block(image, files[image]).encode())
        stream.write(f'<script type="application/json" id="plan">{_plan(study, reader, token)}</script>\n'.encode())
        stream.write(f"<script>{_read('reader.js')}</script>\n</body>\n</html>\n".encode())


def _plan(study: Study, reader: str, token: str) -> str:
    """What the program needs, as JSON. Which cases are asked twice is not in it."""
    protocol = study.protocol
    plan: dict[str, Any] = {
        "study": study.sha256,
        "reader": reader,
        "token": token,
        "title": protocol.title,
        "task": protocol.task,
        "layout": protocol.layout,
        "technical": protocol.technical,
        "findings": list(study.findings),
        "items": list(REVIEW_ITEMS),
        "answers": list(REVIEW_ANSWERS),
        "trials": [
            {
                "practice": trial.part == PRACTICE,
                "block": trial.block,
                "images": list(trial.images),
                "finding": trial.finding,
            }
            for trial in study.trials[reader]
        ],
    }
    return inline_json(plan)


def _head(title: str) -> str:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_PAGE), undefined=jinja2.StrictUndefined, autoescape=True
    )
    style = _read("reader.css")
    policy = page_policy(style, _read("reader.js"))
    slots = {"policy": policy, "title": title, "style": markupsafe.Markup(style)}  # our own file
    return environment.get_template("reader.html").render(slots) + "\n"


def _read(name: str) -> str:
    return (_PAGE / name).read_text(encoding="utf-8")
