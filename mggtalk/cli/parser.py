"""The command line of `mggtalk`: subcommands, arguments, and the functions that they call.

A subcommand imports its code when it runs: help and usage errors come at once, and `mggtalk params` needs no OpenCV.
"""

from argparse import ArgumentParser, ArgumentTypeError, Namespace
from pathlib import Path

from mggtalk import __version__
from mggtalk.params import GROUPS, Params
from mggtalk.runtime.stage_command import add_params_arguments

_SHARDS = Path("artifacts/shards")
SPLITS = ("train", "val", "test")
"""The values of `mggtalk.records.Split`."""


def make_parser() -> ArgumentParser:
    """Return the parser of the whole command; `run` of what it returns takes that and does the work."""
    parser = ArgumentParser(
        prog="mggtalk", description="Model weights, parameters, checks and images of the data set, and of the machine."
    )
    parser.add_argument("--version", action="version", version=f"mggtalk {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    _add_models(commands.add_parser("models", help="fetch and list model weights"))
    _add_params(commands.add_parser("params", help="print the parameters that hold, and where each comes from"))
    _add_splits(commands.add_parser("splits", help="look for people in several parts of the data set"))
    _add_shards(commands.add_parser("shards", help="check, measure and list the data set"))
    _add_inspect(commands.add_parser("inspect", help="draw what the stage shards made of a clip"))
    _add_doctor(commands.add_parser("doctor", help="look at the machine, and say how to mend what is missing"))
    return parser


def _add_models(parser: ArgumentParser) -> None:
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    fetch = commands.add_parser("fetch", help="download model weights; those that are there and right stay")
    fetch.add_argument("names", nargs="*", metavar="NAME", help="default: every model that the pipeline needs")
    fetch.add_argument("--all", action="store_true", help="the optional models too")
    fetch.set_defaults(run=_fetch_models)
    commands.add_parser("list", help="name, state, size, licence and purpose").set_defaults(run=_list_models)


def _fetch_models(options: Namespace) -> None:
    from mggtalk.cli.models import fetch_models

    fetch_models(options.names, fetch_all=options.all)


def _list_models(_: Namespace) -> None:
    from mggtalk.cli.models import list_models

    list_models()


def _add_params(parser: ArgumentParser) -> None:
    parser.description = (
        "Prints every parameter as YAML. The comment beside a value says where it comes from: default, a file, or -S."
    )
    parser.add_argument("group", nargs="?", choices=[*GROUPS], metavar="GROUP", help=f"one of {', '.join(GROUPS)}")
    add_params_arguments(parser)
    parser.add_argument("--explain", action="store_true", help="say above each key what it means")
    parser.set_defaults(run=_print_params)


def _print_params(options: Namespace) -> None:
    from mggtalk.cli.params import print_params

    print_params(Params.load(options.params, options.set), options.group, explains=options.explain)


def _add_splits(parser: ArgumentParser) -> None:
    check = parser.add_subparsers(metavar="COMMAND", required=True).add_parser(
        "check", help="report people in several parts; exit code 1 if there are any"
    )
    check.add_argument("--artifacts", type=Path, default=Path("artifacts"), metavar="DIR", help="default: artifacts")
    add_params_arguments(check)
    check.add_argument("--json", action="store_true", help="all that was found, for programs")
    check.add_argument("--distance", type=float, help="faces this close are one person; default: as in the stage track")
    check.set_defaults(run=_check_splits)


def _check_splits(options: Namespace) -> None:
    from mggtalk.cli.splits import check_splits

    params = Params.load(options.params, options.set)
    check_splits(options.artifacts, params, as_json=options.json, same_person=options.distance)


def _add_shards(parser: ArgumentParser) -> None:
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    check = commands.add_parser("verify", help="check every byte; exit code 1 if anything is wrong")
    check.add_argument("--fast", action="store_true", help="do not decode images, clouds and sound")
    _add_root(check, as_json=True)
    check.set_defaults(run=_verify_shards)

    stats = commands.add_parser("stats", help="how much there is, by split, and how good it is")
    _add_root(stats, as_json=True)
    stats.set_defaults(run=_print_stats)

    card = commands.add_parser("card", help="print CARD.md")
    _add_root(card, as_json=False)
    card.set_defaults(run=_print_card)

    listing = commands.add_parser(
        "ls",
        help="list samples, or the members of a clip's",
        description="One line a sample, with tabs between: key, shard, frames, source frames, bytes. With CLIP, one "
        "line a member: key, member, shard, offset of its data in the shard, bytes.",
    )
    _add_root(listing, as_json=True)
    listing.add_argument(
        "clip", nargs="?", metavar="CLIP", help="clip id, its beginning, or its video's name; lists its members"
    )
    listing.add_argument("--split", choices=SPLITS, help="samples of this part only")
    listing.set_defaults(run=_list_samples)


def _add_root(parser: ArgumentParser, *, as_json: bool) -> None:
    parser.add_argument("root", nargs="?", type=_folder, default=_SHARDS, metavar="ROOT", help=f"default: {_SHARDS}")
    if as_json:
        parser.add_argument("--json", action="store_true", help="the same, and more, for programs")


def _folder(text: str) -> Path:
    if "://" in text:
        raise ArgumentTypeError(f"got the URL {text}, expected a folder: fetch the data set first (`dvc pull`)")
    return Path(text)


def _verify_shards(options: Namespace) -> None:
    from mggtalk.cli.shards import verify_shards

    verify_shards(options.root, fast=options.fast, as_json=options.json)


def _print_stats(options: Namespace) -> None:
    from mggtalk.cli.shards import print_stats

    print_stats(options.root, as_json=options.json)


def _print_card(options: Namespace) -> None:
    from mggtalk.cli.shards import print_card

    print_card(options.root)


def _list_samples(options: Namespace) -> None:
    from mggtalk.cli.shards import list_samples

    list_samples(options.root, options.clip, split=options.split, as_json=options.json)


def _add_inspect(parser: ArgumentParser) -> None:
    parser.add_argument(
        "clip", metavar="CLIP", help="clip id, its beginning, or its video's name, with or without folder and ending"
    )
    parser.add_argument("--shards", default=str(_SHARDS), metavar="URL", help=f"folder or URL; default: {_SHARDS}")
    parser.add_argument(
        "--frame", type=int, metavar="N", help="a frame with geometry; default: the one that is turned farthest aside"
    )
    parser.add_argument(
        "--output", type=Path, metavar="FILE.png", help="default: CLIP-fNNN.png in the current folder; is overwritten"
    )
    parser.set_defaults(run=_inspect)


def _inspect(options: Namespace) -> None:
    from mggtalk.cli.inspect import inspect_clip

    inspect_clip(options.shards, options.clip, frame=options.frame, output=options.output)


def _add_doctor(parser: ArgumentParser) -> None:
    parser.add_argument("--artifacts", type=Path, default=Path("artifacts"), metavar="DIR", help="default: artifacts")
    parser.set_defaults(run=_diagnose)


def _diagnose(options: Namespace) -> None:
    from mggtalk.cli.doctor import diagnose

    diagnose(Path.cwd(), options.artifacts)
