"""`xrarchive study make`, `score` and `simulate`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from xrarchive.cli.failures import missing
from xrarchive.cli.options import FILE, FOLDER, example, json_option, names
from xrarchive.cli.output import Result, cell, emit, fields, plain, say, table
from xrarchive.cli.progress import amount, progress
from xrarchive.cli.publish import stdin_is_terminal
from xrarchive.errors import EXIT_INTERRUPTED, EXIT_OK
from xrarchive.study.protocol import LAYOUTS, TASKS

_SHOWN = ("accuracy", "synthetic_called_real", "sensitivity", "specificity", "auc", "d_prime", "criterion")


def sizes(text: str) -> tuple[int, ...]:
    """Option type: sides in px, separated by commas."""
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError as err:
        raise click.BadParameter(f"{text!r} holds no sizes; expected such as 256,512.") from err


@click.group()
def study() -> None:
    """Have radiologists read an archive blind: make the pages, score the answers, simulate readers."""


@study.command(
    epilog=example(
        "xrarchive study make archive --radiographs radiographs --out study --dry-run",
        "xrarchive study make archive --radiographs radiographs --out study --cases 200 --readers 3 --yes",
    )
)
@click.argument("archive", metavar="ARCHIVE", type=FOLDER)
@click.option("--radiographs", metavar="SET", type=FOLDER, required=True, help="Real films, with labels.")
@click.option("--out", metavar="STUDY", type=FOLDER, required=True, help="New folder of the study.")
@click.option("--task", type=click.Choice(TASKS), default="realism", show_default=True, help="What readers are asked.")
@click.option(
    "--design",
    type=click.Choice(LAYOUTS),
    default="single",
    show_default=True,
    help="Films alone, or real beside made.",
)
@click.option("--cases", metavar="N", type=int, default=200, show_default=True, help="Films, or pairs, a reader.")
@click.option("--readers", metavar="N", type=int, default=3, show_default=True, help="Pages to make.")
@click.option(
    "--repeats", metavar="SHARE", type=float, default=0.1, show_default=True, help="Of the cases, shown twice."
)
@click.option("--practice", metavar="N", type=int, default=6, show_default=True, help="Cases that do not count, first.")
@click.option("--block", metavar="N", type=int, default=50, show_default=True, help="Cases between two breaks.")
@click.option("--sizes", "sizes_px", metavar="PX,…", type=sizes, help="Sides shown.  [default: the largest both have]")
@click.option("--margin", type=float, default=0.1, show_default=True, help="0.5 ± margin counts as guessing.")
@click.option("--title", metavar="TEXT", help="Shown to readers.  [default: a neutral one]")
@click.option("--technical", is_flag=True, help="A trial of the machinery: films below 256 px are allowed, and marked.")
@click.option("--seed", metavar="N", type=click.IntRange(min=0), default=0, show_default=True, help="Keep it secret.")
@click.option("--dry-run", is_flag=True, help="Say what would be made and what it can show; write nothing.")
@click.option("--yes", is_flag=True, help="Do not ask whether real films may leave this machine.")
@json_option("out, sha256, pages, page_bytes, findings, power, leaks, statistics, plan; of a dry run the plan alone")
def make(
    as_json: bool,
    archive: Path,
    radiographs: Path,
    out: Path,
    design: Any,
    sizes_px: tuple[int, ...] | None,
    title: str | None,
    dry_run: bool,
    yes: bool,
    **flags: Any,
) -> int:
    """Make a blinded study: a page a reader, which needs no network, and a key that stays here.

    The pages hold real films: that is asked first. Real and synthetic films pass the same resizing, rounding and
    encoding, and a study that could be read without looking at them is refused.
    """
    from xrarchive import pipeline
    from xrarchive.study.protocol import Protocol

    if not (yes or dry_run) and (as_json or not stdin_is_terminal()):
        raise missing("--yes", before="real films leave this machine")
    if title is not None:
        flags["title"] = title
    protocol = Protocol(layout=design, **flags)
    plans: list[Any] = []

    def confirm(plan: Any) -> bool:
        plans.append(plan)
        return not dry_run and (yes or _ask(plain(plan)))

    with progress("study make") as on_status:
        report = pipeline.make_study(
            archive, radiographs, out, protocol, sizes_px=sizes_px or (), confirm=confirm, on_status=on_status
        )
    if dry_run:
        emit("study-plan", plans[0], _show_plan, as_json=as_json)
        return EXIT_OK
    if report is None:
        click.echo("Nothing was made.", err=True)
        return EXIT_INTERRUPTED
    emit("study-make", report, _show_made, as_json=as_json)
    return EXIT_OK


def _ask(plan: Result) -> bool:
    for line in _leaving(plan):
        click.echo(line, err=True)
    return click.confirm("Make the pages?", err=True)


def _leaving(plan: Result) -> list[str]:
    films = f"{plan['real']:,} real films of as many patients, and {plan['synthetic']:,} synthetic ones"
    pages = "the reader's page" if plan["readers"] == 1 else f"each of {plan['readers']} readers' pages"
    where = f"{films}, will be inside {pages}: whoever has a page has these films. Nothing else leaves this machine."
    return [where, *plan["terms"]]


def _show_plan(result: Result) -> None:
    say(*_leaving(result), "")
    _show_power(result["power"], result["readers"])
    say("", "Nothing was written.")


def _show_power(power: Result, readers: int) -> None:
    who = ["one reader", "all readers"][: 1 + (readers > 1)]
    rows = [
        ("60 % told apart is not guessing", *power["detect"], f"{power['detect_needs']} independent readings"),
        (
            f"guessing readers are within ± {100 * power['margin']:g} points",
            *power["equivalence"],
            f"{power['equivalence_needs']} independent readings",
        ),
    ]
    shown = [(what, *powers[: len(who)], needs) for what, *powers, needs in rows]
    table(["to show that", *(f"power, {each}" for each in who), "80 % power needs"], shown)
    told = f"{100 * power['smallest']:.0f} % told apart is the least they tell from guessing"
    say(f"All readings are worth {power['reads']:.0f} independent ones; {told}.")


def _show_made(result: Result) -> None:
    table(["finding", "real and synthetic, each"], result["findings"].items())
    say("")
    _show_power(result["power"], result["plan"]["readers"])
    worst = max(result["leaks"], key=lambda leak: leak["high"])
    told = result["statistics"][-1]
    say(
        "",
        f"Without looking at the films: AUC up to {worst['high']:.2f} ({worst['property']}); below 0.60 is needed.",
        f"By simple statistics of the films: AUC {told['auc']:.2f} (up to {told['high']:.2f}), all together.",
        "",
    )
    size = amount(result["page_bytes"], "bytes")
    say(f"{len(result['pages'])} pages of {size} in {Path(result['pages'][0]).parent}: give each reader one.")
    say(f"Keep {result['key']} to yourself, and the seed.")
    if result["technical"]:
        say("A technical study: its result says nothing about realism at reading size.")
    say(f"Next: xrarchive study score {result['out']} result-*.json")


@study.command(epilog=example("xrarchive study score study result-1.json result-2.json result-3.json"))
@click.argument("folder", metavar="STUDY", type=FOLDER)
@click.argument("results", metavar="RESULT…", type=FILE, nargs=-1, required=True)
@click.option("--out", metavar="DIR", type=FOLDER, help="Folder of the score.  [default: STUDY/score]")
@click.option(
    "--accept",
    metavar="A,B,…",
    type=names,
    default=None,
    help="Take results that are partial, tampered (changed since saved) or doubled (the last one of a reader).",
)
@click.option("--seed", metavar="N", type=click.IntRange(min=0), default=0, show_default=True, help="Of the intervals.")
@json_option("the content of score.json, with out and files")
def score(
    as_json: bool, folder: Path, results: tuple[Path, ...], out: Path | None, accept: tuple[str, ...] | None, seed: int
) -> None:
    """Score what readers saved: accuracy, d', ROC, agreement and equivalence, with intervals.

    Results of another study are refused, and so are partial, doubled and changed ones unless told otherwise.
    """
    from xrarchive import pipeline

    allowed = ("partial", "tampered", "doubled")
    if unknown := set(accept or ()) - set(allowed):
        raise click.UsageError(f"--accept takes {', '.join(allowed)}, not {', '.join(sorted(unknown))}.")
    report = pipeline.score_study(folder, results, out=out, accept=accept or (), seed=seed)
    emit("study-score", report.score, _show_score, as_json=as_json, out=report.out, files=report.files)


def _show_score(result: Result) -> None:
    if realism := result.get("realism"):
        rows = [(name.replace("_", " "), *_measured(realism[name])) for name in _SHOWN if name in realism]
        agreement = realism["agreement"]
        rows += [(name.replace("_", " "), *_measured(agreement[name])) for name in agreement]
        table(["real or synthetic", "value", "95 % interval", "n"], rows)
        equivalence = realism["equivalence"]
        if "p" in equivalence:
            word = "shown" if equivalence["shown"] else "not shown"
            say(f"Guessing within ± {100 * equivalence['margin']:g} points: {word} (p = {cell(equivalence['p'])}).")
    if findings := result.get("findings"):
        sides = findings["confirmed"]
        say("")
        table(["finding seen", "value", "95 % interval", "n"], [(side, *_measured(sides[side])) for side in sides])
    if review := result.get("review"):
        say("", f"In depth: {', '.join(review)}.")
    if result["technical"]:
        say("", "A technical study: this says nothing about realism at reading size.")
    say("", *map(str, result["files"]))


def _measured(found: Result) -> tuple[object, str, object]:
    if found["value"] is None:
        return None, str(found["reason"]), None
    low, high = found.get("low"), found.get("high")
    return found["value"], "–" if low is None else f"{cell(low)} to {cell(high)}", found["n"]


@study.command(
    epilog=example("xrarchive study simulate study --out simulated --sensitivity 1 --bias 0.2 --studies 1000")
)
@click.argument("folder", metavar="STUDY", type=FOLDER)
@click.option("--out", metavar="DIR", type=FOLDER, required=True, help="Folder for the results.")
@click.option("--sensitivity", type=float, default=1.0, show_default=True, help="d'; 0 = readers guess.")
@click.option("--bias", type=float, default=0.0, show_default=True, help="Above 0 readers say real more readily.")
@click.option("--reader-sd", type=float, default=0.2, show_default=True, help="Spread of d' among readers.")
@click.option("--bias-sd", type=float, default=0.2, show_default=True, help="Spread of the bias among readers.")
@click.option("--case-sd", type=float, default=0.5, show_default=True, help="Spread among films of a kind.")
@click.option(
    "--studies", metavar="N", type=click.IntRange(min=1), help="Also score N such studies: interval coverage."
)
@click.option("--seed", metavar="N", type=click.IntRange(min=0), default=0, show_default=True, help="Of the readers.")
@json_option("out, files, coverage (figure, truth, mean, readers_and_cases, bootstrap, width, studies)")
def simulate(as_json: bool, folder: Path, out: Path, studies: int | None, seed: int, **flags: Any) -> None:
    """Write results of readers who do not exist, to plan a study or to see whether its intervals hold."""
    from xrarchive import pipeline
    from xrarchive.study.models import ReaderModel

    with progress("study simulate") as on_status:
        report = pipeline.simulate_study(
            folder, out, ReaderModel(**flags), studies=studies, seed=seed, on_status=on_status
        )
    emit("study-simulate", report, _show_simulated, as_json=as_json)


def _show_simulated(result: Result) -> None:
    say(*map(str, result["files"]))
    if result["coverage"]:
        columns = ("figure", "truth", "mean", "readers_and_cases", "bootstrap", "width", "studies")
        rows = [[found[name] for name in columns] for found in result["coverage"]]
        table(["figure", "truth", "mean", "interval holds it", "bootstrap does", "width", "studies"], rows)
        return
    fields({"next": f"xrarchive study score STUDY {Path(result['files'][0]).parent}/*.json"})
