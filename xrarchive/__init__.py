"""Labelled archives of synthetic chest X-rays: real radiographs in, a checked, loadable, publishable archive out.

The public functions in the order the data flows; each is also a command. `Generator` and `Classifier` are weights to
use. Importing this package imports none of them: torch is loaded by the first function that needs it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from xrarchive.pipeline import (
        audit,
        browse,
        build,
        check,
        diff,
        export_archive,
        extend,
        ingest,
        load,
        log,
        make_study,
        merge,
        publish,
        retract,
        score_study,
        show,
        show_radiographs,
        simulate_study,
        split,
        train_classifier,
        train_generator,
        validate,
        withdraw,
        write_card,
    )
    from xrarchive.pretrained import Classifier, Generator

    __version__: str

__all__ = [  # noqa: RUF022 - pipeline order
    "ingest",
    "train_generator",
    "train_classifier",
    "build",
    "validate",
    "audit",
    "write_card",
    "publish",
    "retract",
    "load",
    "show",
    "show_radiographs",
    "browse",
    "check",
    "log",
    "extend",
    "withdraw",
    "split",
    "diff",
    "merge",
    "export_archive",
    "make_study",
    "score_study",
    "simulate_study",
    "Generator",
    "Classifier",
    "__version__",
]


if not TYPE_CHECKING:  # a type checker that sees this would let every name pass

    def __getattr__(name: str) -> object:
        if name == "__version__":
            return _version()
        if name in ("Generator", "Classifier"):
            from xrarchive import pretrained

            return getattr(pretrained, name)
        if name in __all__:
            from xrarchive import pipeline

            return getattr(pipeline, name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def _version() -> str:
    """The installed version; "0+unknown" where the package is only on the path."""
    from importlib import metadata

    try:
        return metadata.version("xrarchive")
    except metadata.PackageNotFoundError:
        return "0+unknown"
