"""`xrarchive`: the group of commands, and the one place where errors become words and exit codes."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from types import FrameType
from typing import Any, NoReturn

import click

from xrarchive.cli.browse import browse
from xrarchive.cli.build import build
from xrarchive.cli.card import card
from xrarchive.cli.check import check
from xrarchive.cli.diff import diff
from xrarchive.cli.doctor import doctor
from xrarchive.cli.export import export
from xrarchive.cli.failures import Terminated, show_failure
from xrarchive.cli.ingest import ingest
from xrarchive.cli.init import init
from xrarchive.cli.life import extend, gc, log, merge, split, withdraw
from xrarchive.cli.options import example
from xrarchive.cli.publish import publish
from xrarchive.cli.radiographs import radiographs
from xrarchive.cli.show import show
from xrarchive.cli.status import status
from xrarchive.cli.study import study
from xrarchive.cli.train import train
from xrarchive.cli.validate import validate
from xrarchive.cli.weights import weights

_PIPELINE = (ingest, train, build, validate, card, publish)
_ARCHIVE = (show, browse, check, log, extend, withdraw, split, diff, merge, export, gc)
COMMANDS = (*_PIPELINE, *_ARCHIVE, radiographs, study, status, weights, doctor, init)


class Commands(click.Group):
    """Lists commands in pipeline order; ends every run with an exit code of the table in README."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """The order in which they were added."""
        return list(self.commands)

    def main(self, args: Sequence[str] | None = None, prog_name: str | None = None, *_: Any, **extra: Any) -> NoReturn:
        """Run a command and exit. A command returns its exit code, or None for 0."""
        arguments = list(sys.argv[1:] if args is None else args)
        extra["standalone_mode"] = False
        try:
            with _terminable():
                code = super().main(arguments, prog_name or "xrarchive", **extra)
        except (Exception, KeyboardInterrupt) as err:
            code = show_failure(err, arguments, as_json="--json" in arguments)
        sys.exit(code)


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    """Let signals that end a job unwind the stack as Ctrl-C does, so that locks and temporary files go."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, _frame: FrameType | None) -> NoReturn:
        raise Terminated(number)

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGUSR1)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _print_version(ctx: click.Context, param: click.Parameter, value: bool) -> None:  # noqa: ARG001
    if value and not ctx.resilient_parsing:
        from xrarchive import __version__

        click.echo(f"xrarchive {__version__}")
        ctx.exit()


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=example("xrarchive build --per-class 20 --out archive"),
)
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_print_version, help="Show it.")
def main() -> None:
    """Labelled archives of synthetic chest X-rays.

    Real radiographs in; a labelled, checked, loadable and publishable archive out. Arguments that are left out come
    from xrarchive.toml in this folder, if there is one (`xrarchive init` writes it).
    """


for _command in COMMANDS:
    main.add_command(_command)
