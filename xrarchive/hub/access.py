"""Who may get what is published, and whether the terms of the films behind it allow that.

In: the names of terms an archive carries, and whom its publisher wants to let in. Out: what the plan says about it, or
a refusal that names the clause. A folder (``--to``) is inside the publisher's own walls: nothing leaves by it, so that
terms are said there and never refused.

Why an archive without terms is refused in public: nobody has said whose films stand behind it. A hospital's own films
need the hospital's word; a public release cannot be called back, and one sentence who agreed costs a minute. Private
and gated by hand are let through: whoever is let in can be asked about later.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from xrarchive.errors import GateError, SettingsError
from xrarchive.terms import Terms, require_terms

Gating = Literal["auto", "manual"]


@dataclass(frozen=True)
class Access:
    """Whom a repository lets in.

    Attributes:
        private: Only its owner, or the members of the organisation.
        gated: Whoever asks, at once ("auto") or when the owner says so ("manual"); None = everybody.
        permission: Who permitted what the terms alone do not, and where that is written; kept with the release.
        inside: A folder of the publisher's own, not a Hub.
    """

    private: bool = False
    gated: Gating | None = None
    permission: str = ""
    inside: bool = False

    @property
    def words(self) -> str:
        """Who gets in, in words."""
        if self.inside:
            return "whoever may read the folder"
        if self.private:
            return "private"
        return {"auto": "gated, let in automatically", "manual": "gated, let in by hand", None: "public"}[self.gated]

    @property
    def chosen_one_by_one(self) -> bool:
        """Whether nobody gets in unless the publisher says so."""
        return self.inside or self.private or self.gated == "manual"

    def as_dict(self) -> dict[str, object]:
        """The machine-readable form in the plan and in the receipt."""
        return {"private": self.private, "gated": self.gated, "permission": self.permission, "inside": self.inside}


PUBLIC = Access()


def require_release(names: Iterable[str], access: Access) -> tuple[str, ...]:
    """What the plan must say about terms, if they allow this release.

    Args:
        names: Terms the archive carries.
        access: Whom it is published to.

    Raises:
        GateError: If the terms do not allow it, naming the clause.
        SettingsError: If terms are unknown, or a private repository is to be gated.
    """
    if access.private and access.gated:
        raise SettingsError(
            "A private repository cannot be gated: nobody could ask to be let in.",
            fix="Give --private or --gated, not both.",
        )
    carried = require_terms(names)
    if not carried:
        return _without_terms(access)
    refused = [terms for terms in carried if not _allows(terms, access)]
    if refused and not access.permission:
        raise _refusal(refused, access)
    notes = [f"{terms.title}: {terms.notice}" for terms in carried]
    return (*notes, *_permission_note(access, refused))


def _allows(terms: Terms, access: Access) -> bool:
    if terms.release == "gated":
        return access.chosen_one_by_one
    return terms.release == "open" or access.inside


def _refusal(refused: Sequence[Terms], access: Access) -> GateError:
    sources = " ".join(f'{terms.title}: "{terms.clause}" ({terms.clause_url})' for terms in refused)
    forbidden = any(terms.release == "forbidden" for terms in refused)
    way = "Publish inside your own walls with --to FOLDER" if forbidden else "Give --gated manual or --private"
    return GateError(
        f"The terms of the films behind this archive do not allow a {access.words} release. {sources}",
        fix=f'{way}; or ask the holder, and say who agreed and where that is written: --i-have-permission "TEXT".',
    )


def _without_terms(access: Access) -> tuple[str, ...]:
    said = "No terms are recorded: nothing says whose films stand behind this archive, or what may be done with it."
    if not access.permission and not access.chosen_one_by_one:
        raise GateError(
            f"{said} A {access.words} release cannot be called back.",
            fix="Give `ingest` the --terms the films came under; or ask whoever holds the films, and say who agreed "
            'and where that is written: --i-have-permission "TEXT"; or give --private, --gated manual or --to FOLDER.',
        )
    return (said, *_permission_note(access, ()))


def _permission_note(access: Access, needed_by: Sequence[Terms]) -> tuple[str, ...]:
    if not access.permission:
        return ()
    where = f" (needed for {', '.join(terms.title for terms in needed_by)})" if needed_by else ""
    return (f"Permission{where}: {access.permission}",)


def gate_prompt(names: Iterable[str]) -> str:
    """What somebody who asks to be let into a gated repository is told."""
    carried = require_terms(names)
    told = ["These are synthetic images or the weights that made them. Not for clinical use."]
    told += [terms.notice for terms in carried]
    if any(terms.release == "gated" for terms in carried):
        told.append("By asking you state that you hold access to the source data under the same agreement.")
    return " ".join(told)
