"""Entry point of the command `mggtalk`."""

import logging
import os
import sys
from collections.abc import Sequence

from mggtalk.cli.parser import make_parser
from mggtalk.errors import run_main


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line `argv` (default: the process's own) and return the exit code."""
    options = make_parser().parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        exit_code = run_main(lambda: options.run(options))
        sys.stdout.flush()
    except BrokenPipeError:  # whoever read has seen enough, as in `mggtalk shards ls | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes once more as it ends
        return 141  # what a shell reports for a command that SIGPIPE ended
    return exit_code
