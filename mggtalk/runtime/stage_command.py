"""The command line of the stages: arguments, logging and exit codes."""

import argparse
import logging
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mggtalk.artifacts import Artifacts
from mggtalk.errors import StageError, run_main
from mggtalk.params import Params


@dataclass(frozen=True, slots=True)
class StageArguments:
    """The command line of a stage."""

    params: Params
    artifacts: Artifacts


def add_shards_argument(parser: argparse.ArgumentParser) -> None:
    """Add the option that reads shards from elsewhere; `shards_location` takes its value."""
    parser.add_argument(
        "--shards", metavar="URL", help="read shards from file://, https:// or s3://; default: those of the artifacts"
    )


def add_training_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of a training."""
    parser.add_argument(
        "--launcher", choices=("ray", "local"), default="ray", help="local: in this process, without Ray; default: ray"
    )
    add_shards_argument(parser)


def shards_location(artifacts: Artifacts, url: str | None) -> Path | str:
    """Return where shards are read: at a URL or in a folder, absolute, that was named; else among the artifacts."""
    return url if url and "://" in url else Path(url or artifacts.shards).resolve()


def stage_parser(description: str) -> argparse.ArgumentParser:
    """Return the command line that every stage has."""
    parser = argparse.ArgumentParser(description=description)
    add_params_arguments(parser)
    parser.add_argument("--artifacts", type=Path, default=Path("artifacts"), metavar="DIR", help="default: artifacts")
    return parser


def add_params_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that say what holds; `Params.load` takes them."""
    parser.add_argument("--params", type=Path, default=Path("params.yaml"), metavar="FILE", help="default: params.yaml")
    parser.add_argument(
        "-S",
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="a parameter over that of the file, such as train.steps=2000; may be repeated",
    )


def stage_arguments(options: argparse.Namespace) -> StageArguments:
    """Return what `stage_parser` parsed, typed; make the folder of the artifacts.

    Raises:
        ParamsError: as `Params.load`. StageError: the folder cannot be made, or not be written to.
    """
    params = Params.load(options.params, options.set)
    folder: Path = options.artifacts
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as cause:
        raise StageError(f"--artifacts {folder}: expected a folder to write to, got: {cause.strerror}") from cause
    return StageArguments(params, Artifacts(options.artifacts))


def stage_main(run: Callable[[StageArguments], None], description: str, argv: Sequence[str] | None = None) -> int:
    """Run a stage on a command line (default: the process's own) and return its exit code."""
    options = stage_parser(description).parse_args(argv)
    start_logging()
    return run_main(lambda: run(stage_arguments(options)))


def start_logging() -> None:
    """Send messages to stderr, as they are: one summary line a stage."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
