"""The stages, wired: what each command does, as a function a notebook can call.

    ingest -> train_generator, train_classifier -> build -> validate -> write_card -> publish -> load

The one place commands, scripts and users import from. The modules, in the order of the data: `training`, `weights`,
`showing`, `publishing`, `reading`, `studies`; building, changing and validating archives have packages of their own.
With these it stands on both sides of the waist: torch is imported inside the functions that need it.

*Why* every name is imported when it is asked for: what one command needs would keep the others waiting, scipy and
pandas above all.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from xrarchive.archive.changing import find_leftovers, remove_leftovers, split, withdraw
    from xrarchive.archive.merging import merge
    from xrarchive.building import BuildReport, build, extend
    from xrarchive.bundled import weights_path
    from xrarchive.features.cache import user_cache
    from xrarchive.pipeline.publishing import model_card, publish, retract, write_card
    from xrarchive.pipeline.reading import Checked, check, diff, export_archive, load, log
    from xrarchive.pipeline.showing import browse, show, show_radiographs
    from xrarchive.pipeline.studies import make_study, score_study, simulate_study
    from xrarchive.pipeline.training import estimate_cost, status, train_classifier, train_generator
    from xrarchive.pipeline.weights import export_weights, import_weights, import_xrv, show_weights
    from xrarchive.radiographs.ingest import ingest
    from xrarchive.radiographs.survey import survey
    from xrarchive.validating.audit import audit, report_path
    from xrarchive.validating.validate import validate
    from xrarchive.validating.waiving import waive

__all__ = [
    "BuildReport",
    "Checked",
    "audit",
    "browse",
    "build",
    "check",
    "diff",
    "estimate_cost",
    "export_archive",
    "export_weights",
    "extend",
    "find_leftovers",
    "import_weights",
    "import_xrv",
    "ingest",
    "load",
    "log",
    "make_study",
    "merge",
    "model_card",
    "publish",
    "remove_leftovers",
    "report_path",
    "retract",
    "score_study",
    "show",
    "show_radiographs",
    "show_weights",
    "simulate_study",
    "split",
    "status",
    "survey",
    "train_classifier",
    "train_generator",
    "user_cache",
    "validate",
    "waive",
    "weights_path",
    "withdraw",
    "write_card",
]

_HOMES = {
    "xrarchive.radiographs": ("ingest", "survey"),
    "xrarchive.pipeline.training": ("estimate_cost", "status", "train_classifier", "train_generator"),
    "xrarchive.pipeline.weights": ("export_weights", "import_weights", "import_xrv", "show_weights"),
    "xrarchive.bundled": ("weights_path",),
    "xrarchive.building": ("BuildReport", "build", "extend"),
    "xrarchive.archive.changing": ("find_leftovers", "remove_leftovers", "split", "withdraw"),
    "xrarchive.archive.merging": ("merge",),
    "xrarchive.features.cache": ("user_cache",),
    "xrarchive.validating": ("audit", "report_path", "validate", "waive"),
    "xrarchive.pipeline.showing": ("browse", "show", "show_radiographs"),
    "xrarchive.pipeline.publishing": ("model_card", "publish", "retract", "write_card"),
    "xrarchive.pipeline.reading": ("Checked", "check", "diff", "export_archive", "load", "log"),
    "xrarchive.pipeline.studies": ("make_study", "score_study", "simulate_study"),
}

if not TYPE_CHECKING:  # a type checker that sees this would let every name pass

    def __getattr__(name: str) -> object:
        for module, names in _HOMES.items():
            if name in names:
                return getattr(importlib.import_module(module), name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
