"""Entry point of the command `mggtalk`."""

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from mggtalk import __version__
from mggtalk.cli.doctor import diagnose
from mggtalk.cli.inspect import add_inspect_command
from mggtalk.cli.models import fetch_models, list_models
from mggtalk.cli.shards import add_shards_command
from mggtalk.cli.splits import add_splits_command
from mggtalk.errors import run_main


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line `argv` (default: the process's own) and return the exit code."""
    arguments = _parser().parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        exit_code = run_main(lambda: arguments.run(arguments))
        sys.stdout.flush()
    except BrokenPipeError:  # whoever read has seen enough, as in `mggtalk shards ls | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes once more as it ends
        return 141  # what a shell reports for a command that SIGPIPE ended
    return exit_code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="mggtalk", description="Model weights, checks and pictures of the data set, and what is there to run on."
    )
    parser.add_argument("--version", action="version", version=f"mggtalk {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    models = commands.add_parser("models", help="model weights in the cache").add_subparsers(
        metavar="COMMAND", required=True
    )
    fetch = models.add_parser("fetch", help="download model weights; those that are there and right stay")
    fetch.add_argument("names", nargs="*", metavar="NAME", help="default: every model that the pipeline needs")
    fetch.add_argument("--all", action="store_true", help="the optional models too")
    fetch.set_defaults(run=lambda arguments: fetch_models(arguments.names, fetch_all=arguments.all))
    models.add_parser("list", help="name, state, size, licence and purpose").set_defaults(run=lambda _: list_models())

    add_splits_command(commands.add_parser("splits", help="who is in which part of the data set"))

    add_shards_command(commands.add_parser("shards", help="is the data set sound, and what is in it"))

    add_inspect_command(commands.add_parser("inspect", help="one picture of what the stage shards made of a clip"))

    doctor = commands.add_parser("doctor", help="what is there, and how to mend what is not")
    doctor.add_argument("--artifacts", type=Path, default=Path("artifacts"), metavar="DIR", help="where results go")
    doctor.set_defaults(run=lambda arguments: diagnose(Path.cwd(), arguments.artifacts))
    return parser
