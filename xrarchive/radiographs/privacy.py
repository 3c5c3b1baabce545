"""At the door: what a set may say of a patient, and the key that stays outside.

In: a listing with the ids of a hospital, or of a table whose owner gives a key. Out: the same listing with patients,
studies and file names as keyed hashes, and ages in steps of five years. Called by `ingest` before anything is written.

Why keyed: a plain hash of a record number is undone by hashing all numbers; without the key nobody can. The same key
gives the same hashes, so that one publisher's sets can be compared patient by patient, and nobody else's.

Why not for every source: the ids of public sets are public. Weights are compared with sets by them, so that nobody
measures on the patients of the training, and a key of one's own would only hide that overlap.
"""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import hmac
import io
import os
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from xrarchive.errors import SettingsError, storage_errors
from xrarchive.radiographs.layouts import LeftOut, Listing, Row
from xrarchive.radiographs.split import OWN_PATIENT

KEY_NAME = "patients.key"
_KEY_BYTES = 32
_NAME_DIGITS = 24
# HIPAA's safe harbour (45 CFR 164.514(b)(2)(i)(C)) puts all ages of 90 and more into one.
OLDEST_YEARS, STEP_YEARS = 90, 5


@dataclass(frozen=True)
class PatientKey:
    """A publisher's secret. `repr` does not show it."""

    secret: bytes = dataclasses.field(repr=False)

    @property
    def fingerprint(self) -> str:
        """Names the key and does not give it away; it stands in set.json."""
        return hashlib.sha256(b"xrarchive.key/1\n" + self.secret).hexdigest()[:16]

    def hide(self, kind: str, text: str) -> str:
        """HMAC-SHA256 of an id, 24 hexadecimal digits; "" stays "". Kinds keep equal words apart."""
        if not text:
            return ""
        message = f"{kind}\n{text}".encode(errors="surrogateescape")
        return hmac.new(self.secret, message, hashlib.sha256).hexdigest()[:_NAME_DIGITS]


def load_key(path: Path) -> PatientKey:
    """The key in a file of 64 hexadecimal digits; made at the first use, for its owner alone to read.

    Raises:
        SettingsError: If the file holds something else, or others may read it.
        StorageError: If it cannot be made.
    """
    with storage_errors(path):
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            _make(path)
        text, mode = path.read_bytes(), path.stat().st_mode
    if mode & 0o077:
        raise SettingsError(
            f"Others may read the patient key {path} (mode {mode & 0o777:o}).", fix=f"Run: chmod 600 {path}", path=path
        )
    try:
        secret = bytes.fromhex(text.decode().strip())
    except (UnicodeDecodeError, ValueError):
        secret = b""
    if len(secret) != _KEY_BYTES:
        raise SettingsError(
            f"{path} is no patient key: expected {2 * _KEY_BYTES} hexadecimal digits.",
            fix="Give the file that an earlier ingest made, or a new name to have one made.",
            path=path,
        )
    return PatientKey(secret)


def _make(path: Path) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as stream:
        stream.write(secrets.token_hex(_KEY_BYTES) + "\n")
        stream.flush()
        os.fsync(stream.fileno())


def hide_listing(listing: Listing, key: PatientKey) -> Listing:
    """The listing without ids: what is in it may be written into a set.

    Places still name the source's files; they are never written.
    """
    names = {row.image: f"film-{key.hide('image', row.image)}" for row in listing.rows}
    return dataclasses.replace(
        listing,
        rows=tuple(_hide_row(row, key, names[row.image]) for row in listing.rows),
        left_out=_hide_left_out(listing.left_out, key),
        missing=tuple(names.get(name, "") for name in listing.missing),
    )


def write_names(path: Path, shown: Listing, hidden: Listing) -> None:
    """Which film is which, for the publisher alone: to find a film that was rejected or must be withdrawn.

    Args:
        path: A file beside the set, never in it; for its owner alone to read.
        shown: The listing as it was.
        hidden: What `hide_listing` made of it.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("film", "source"))
    writer.writerows((new.image, old.image) for old, new in zip(shown.rows, hidden.rows, strict=True))
    writer.writerows((new.image, old.image) for old, new in zip(shown.left_out, hidden.left_out, strict=True))
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as stream:
            os.fchmod(stream.fileno(), 0o600)
            stream.write(text.getvalue().encode(errors="surrogateescape"))


def _hide_row(row: Row, key: PatientKey, name: str) -> Row:
    own = row.patient.startswith(OWN_PATIENT)
    return dataclasses.replace(
        row,
        image=name,
        patient=f"{OWN_PATIENT}{name}" if own else f"patient-{key.hide('patient', row.patient)}",
        study=f"study-{key.hide('study', row.study)}" if row.study else "",
        age=bucket_age(row.age),
    )


def _hide_left_out(left_out: Sequence[LeftOut], key: PatientKey) -> tuple[LeftOut, ...]:
    return tuple(dataclasses.replace(one, image=f"film-{key.hide('image', one.image)}") for one in left_out)


def bucket_age(years: int | None) -> int | None:
    """The first year of the five that an age lies in, 90 for all that are older."""
    return None if years is None else min(years - years % STEP_YEARS, OLDEST_YEARS)
