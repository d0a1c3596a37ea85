"""The command line. Heavy imports happen inside the commands that need them: ``--help`` answers at once."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Sequence

import click

from batch import __version__
from batch.cli import (
    completion,
    config,
    doctor,
    export,
    plan,
    recover,
    report,
    run,
    search,
    serve,
    show,
    status,
    streams,
)
from batch.cli.command import Group
from batch.cli.options import say
from batch.errors import DiaristError, RunError, UnavailableError
from batch.telemetry.redaction import plain_lines, redact


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="diarist")
def cli() -> None:
    """A manifest of recordings in; who said what and when out."""


for command in (
    run.run, plan.plan, status.status, show.show, search.search, report.report, export.export, doctor.doctor,
    config.config, recover.recover, serve.serve, completion.completion,
):  # fmt: skip
    cli.add_command(command)


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point: one message on standard error for whatever is the user's to mend, and the exit code."""
    streams.guard()
    if arguments is None:
        streams.in_utf8()
    try:
        with streams.answering():
            cli.main(arguments, prog_name="diarist", standalone_mode=False)
    except click.exceptions.Abort:
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except OSError as error:
        from batch.storage.disk_errors import advice

        place = f"{error.filename}: " if error.filename else ""
        click.echo(f"diarist: {place}{error.strerror or error}. {advice(error, 'Choose another name')}", err=True)
        sys.exit(UnavailableError.exit_code)
    except DiaristError as error:
        say(f"diarist: {error}")
        sys.exit(error.exit_code if isinstance(error, RunError) else UnavailableError.exit_code)
    except Exception:
        click.echo(plain_lines(redact(traceback.format_exc().rstrip())), err=True)
        sys.exit(1)
