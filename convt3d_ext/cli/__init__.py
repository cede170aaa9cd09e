# SPDX-License-Identifier: BSD-3-Clause
"""The command line: ``info``, ``verify``, ``bench`` and ``explain``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from convt3d_ext.testing.cases import DIRECTIONS, PRECISIONS, Case
from convt3d_ext.testing.workloads import SUITES

_LAYOUTS = ("ncdhw", "ndhwc")


def _choices(allowed: Sequence[str]) -> object:
    def read(text: str) -> tuple[str, ...]:
        words = tuple(text.split(","))
        for word in words:
            if word not in allowed:
                raise argparse.ArgumentTypeError(f"'{word}' is not one of {', '.join(allowed)}")
        return words

    return read


def _problem(text: str) -> str:
    try:
        case = Case.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    if case.layout not in _LAYOUTS:
        raise argparse.ArgumentTypeError(f"'{case.layout}' is not one of {', '.join(_LAYOUTS)}")
    return text


def _add_filters(parser: argparse.ArgumentParser, precision_option: str) -> None:
    parser.add_argument("--device", help="cpu, cuda or cuda:1; default: CUDA where there is one")
    parser.add_argument(
        precision_option,
        dest="precisions",
        type=_choices(PRECISIONS),  # type: ignore[arg-type]
        help=f"some of {','.join(PRECISIONS)}; default: all that the device distinguishes",
    )
    parser.add_argument(
        "--layout",
        dest="layouts",
        type=_choices(_LAYOUTS),  # type: ignore[arg-type]
        default=_LAYOUTS,
        help=f"some of {','.join(_LAYOUTS)}; default: both",
    )
    parser.add_argument(
        "--direction",
        dest="directions",
        type=_choices(DIRECTIONS),  # type: ignore[arg-type]
        default=DIRECTIONS,
        help=f"some of {','.join(DIRECTIONS)}; default: all",
    )
    parser.add_argument(
        "--problem",
        type=_problem,
        help="this instead of a suite, as tables print it; what it names after colons is chosen",
    )
    parser.add_argument("--match", default="", help="only cases whose name or problem contains it")
    parser.add_argument("--json", metavar="FILE", help="write the results there, too")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m convt3d_ext", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)

    commands.add_parser("info", help="versions, build, devices, architectures in the binary")

    verify = commands.add_parser("verify", help="check correctness on this machine")
    verify.add_argument("--suite", choices=(*SUITES, "all"), default="all")
    verify.add_argument("--full-size", action="store_true", help="on the CPU: do not shrink cases")
    verify.add_argument("--seed", type=int, default=0)
    _add_filters(verify, "--dtype")

    bench = commands.add_parser("bench", help="time against torch on this machine")
    bench.add_argument("--suite", choices=(*SUITES, "all"), default="kernelbench")
    bench.add_argument("--plot", metavar="FILE", help="write a PNG plot there")
    bench.add_argument(
        "--torch-cache", metavar="FILE", help="reuse torch's times from there, and add to them"
    )
    bench.add_argument(
        "--torch-default",
        action="store_true",
        help="torch with cudnn.benchmark off, as it is by default, instead of at its best",
    )
    bench.add_argument("--commit", help="what to record as the commit; default: asked of git")
    bench.add_argument(
        "--time-limit", type=float, metavar="S", help="start no case after this many seconds"
    )
    bench.add_argument(
        "--max-gflop",
        type=float,
        metavar="G",
        help="make larger layers smaller, to at most this many useful GFLOP: for CPUs",
    )
    _add_filters(bench, "--precision")

    explain = commands.add_parser("explain", help="which kernel runs for a problem, and why")
    explain.add_argument("problem", help='such as "mb2_ic64oc32_id16ih16iw16_k2s2:bf16:ndhwc"')
    explain.add_argument("--device", help="cpu or cuda; default: CUDA where there is one")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status: 0 fine, 1 a check failed, 2 bad arguments."""
    arguments = _parser().parse_args(argv)
    if arguments.command == "explain":
        return _explain(arguments.problem, arguments.device)
    try:
        import rich  # noqa: F401
    except ImportError:
        print("The command line needs rich: pip install 'convt3d_ext[cli]'")
        return 2
    if arguments.command != "info" and (problem := _why_no_device(arguments.device)):
        print(problem)
        return 2
    if arguments.command != "info" and arguments.problem:
        _choose(arguments)
    if arguments.command == "info":
        from convt3d_ext.cli.info import info

        return info()
    if arguments.command == "verify":
        from convt3d_ext.cli.verify import verify

        return verify(arguments)
    from convt3d_ext.cli.bench import bench

    return bench(arguments)


def _choose(arguments: argparse.Namespace) -> None:
    """The precision, layout and direction that ``--problem`` names, in place of all."""
    for word in arguments.problem.split(":")[1:]:
        if word in PRECISIONS:
            arguments.precisions = (word,)
        elif word in _LAYOUTS:
            arguments.layouts = (word,)
        elif word in DIRECTIONS:
            arguments.directions = (word,)


def _why_no_device(name: str | None) -> str:
    import torch

    from convt3d_ext import _C
    from convt3d_ext.testing.operands import resolve_device

    try:
        device = resolve_device(name)
    except RuntimeError:
        return f"there is no device '{name}'"
    if device.type == "cpu":
        return ""
    if device.type != "cuda":
        return f"verify and bench are for cpu and cuda, not {device.type}"
    if not torch.cuda.is_available() or (device.index or 0) >= torch.cuda.device_count():
        return f"torch sees no device '{device}'"
    return "" if _C.build_info()["cuda"] else "this convt3d_ext was built without CUDA"


def _explain(problem: str, device: str | None) -> int:
    from convt3d_ext._explain import explain_problem

    try:
        print(explain_problem(problem, device))
    except ValueError as error:
        print(error)
        return 2
    return 0
