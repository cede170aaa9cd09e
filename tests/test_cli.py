# SPDX-License-Identifier: BSD-3-Clause
"""The command line, in this process, on tiny selections."""

import json
import re
from dataclasses import replace
from pathlib import Path
from statistics import geometric_mean

import pytest
import torch

from convt3d_ext.cli import main
from convt3d_ext.testing import verification
from convt3d_ext.testing.cases import Case, edges

pytest.importorskip("rich")
FEW = ["--device", "cpu", "--match", "k = s, one"]


def test_info(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info"]) == 0
    text = capsys.readouterr().out
    for word in ("convt3d_ext", "torch", "cuda_archs", "torch_target", "cpu"):
        assert word in text


def test_explain(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "mb2_ic64oc32_id16ih16iw16_k2s2:bf16:ndhwc", "--device", "cpu"]) == 0
    text = capsys.readouterr().out
    assert "mb2_ic64oc32_id16ih16iw16_k2s2:bf16:ndhwc:forward" in text
    assert "aten" in text


def test_explain_for_a_gpu_that_is_not_here(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "mb2_ic64oc32_id16ih16iw16_k2s2", "--device", "cuda"]) == 0
    assert "direct" in capsys.readouterr().out


def test_explain_refuses_nonsense(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "mb2_oc4"]) == 2
    assert "problem" in capsys.readouterr().out


def test_verify(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "verify.json"
    assert main(["verify", "--suite", "edges", *FEW, "--json", str(path)]) == 0
    text = capsys.readouterr().out
    cases = [case for case in edges("full") if FEW[-1] in case.name]
    assert len(cases) > 1
    # directions, precisions, layouts, checks
    assert f"{len(cases) * 3 * 4 * 2 * 2} checks, all passed" in text
    document = json.loads(path.read_text())
    assert document["failed"] == 0
    assert document["failures"] == []
    assert len(document["cases"]) == len(cases)
    assert document["environment"]["torch"]


def test_verify_reports_failures(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    right = verification.call
    monkeypatch.setattr(verification, "call", lambda *arguments: right(*arguments) + 1)
    arguments = ["verify", "--suite", "edges", *FEW, "--dtype", "fp32", "--direction", "forward"]
    assert main([*arguments, "--layout", "ncdhw"]) == 1
    text = capsys.readouterr().out
    assert "not exact on integers" in text
    assert "error rule broken" in text
    assert "FAILED" in text


def test_verify_of_nothing_is_no_success(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", "--suite", "edges", "--device", "cpu", "--match", "no such case"]) == 1
    assert "nothing matched" in capsys.readouterr().out


def test_bench(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("matplotlib")
    from convt3d_ext.cli import bench

    cases = [replace(case, name=f"edge {i}") for i, case in enumerate(edges("smoke")[:2])]
    monkeypatch.setattr(bench, "chosen", lambda *_: cases)
    files = {name: tmp_path / name for name in ("bench.json", "bench.png", "torch.json")}
    arguments = ["bench", "--device", "cpu", "--precision", "fp32", "--commit", "abc"]
    arguments += ["--json", str(files["bench.json"]), "--plot", str(files["bench.png"])]
    arguments += ["--torch-cache", str(files["torch.json"])]
    assert main(arguments) == 0
    text = capsys.readouterr().out
    assert "measured in this run" in text
    assert "slowest against the floor" in text
    ranking = re.findall(r"^  (\d+\.\d\d)x  (\S+)  \w+: \d", text, re.MULTILINE)

    document = json.loads(files["bench.json"].read_text())
    for key in ("date", "command", "commit", "torch", "device", "driver", "cudnn"):
        assert key in document["environment"]
    assert document["environment"]["commit"] == "abc"
    rows = document["rows"]
    assert len(rows) == 2 * 3 * 2  # cases, directions, layouts
    for row in rows:
        assert row["ms"] > 0
        assert row["torch_ms"] >= row["torch_best_ms"] > 0
        assert row["roofline_fraction"] > 0
        assert row["speedup_best"] == pytest.approx(row["torch_best_ms"] / row["ms"])
    speedups = sorted((row["speedup_best"], row["case"]) for row in rows)
    assert ranking == [(f"{speedup:.2f}", case) for speedup, case in speedups[:10]]
    behind = sum(speedup < 1 for speedup, _ in speedups)
    assert f"slower than torch's best: {behind} of 12 rows" in text
    steps = [mean for mean in document["means"] if mean["direction"] == "step"]
    assert [mean["layout"] for mean in steps] == ["ncdhw", "ndhwc"]
    for step in steps:
        of_layout = [row for row in rows if row["layout"] == step["layout"]]
        sums = {row["name"]: [0.0, 0.0] for row in of_layout}
        for row in of_layout:
            sums[row["name"]][0] += row["torch_best_ms"]
            sums[row["name"]][1] += row["ms"]
        of_steps = [torch_ms / ours_ms for torch_ms, ours_ms in sums.values()]
        assert step["speedup_best"] == pytest.approx(geometric_mean(of_steps))
        assert step["slowest"] == pytest.approx(min(of_steps))
    assert files["bench.png"].read_bytes().startswith(b"\x89PNG")

    assert main(arguments) == 0
    text = capsys.readouterr().out
    assert re.search(r"12 from .*measured 20\d\d-", " ".join(text.split()))
    again = json.loads(files["bench.json"].read_text())
    before = {row["case"]: row["torch_ms"] for row in rows}
    assert {row["case"]: row["torch_ms"] for row in again["rows"]} == before


ONE = "mb1_ic4oc4_id3ih3iw3_k3s2:fp32:ndhwc:grad_input"


def test_bench_of_one_problem(tmp_path: Path) -> None:
    path = tmp_path / "bench.json"
    assert main(["bench", "--device", "cpu", "--problem", ONE, "--json", str(path)]) == 0
    (row,) = json.loads(path.read_text())["rows"]
    assert row["case"] == ONE


def test_verify_of_one_problem(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    problem = ONE.rpartition(":")[0]  # so in all directions
    assert main(["verify", "--device", "cpu", "--problem", problem]) == 0
    assert f"{3 * 2} checks, all passed" in capsys.readouterr().out


def test_bench_against_torch_as_it_is_by_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from convt3d_ext.cli import bench

    monkeypatch.setattr(bench, "chosen", lambda *_: edges("smoke")[:1])
    cache, path = tmp_path / "torch.json", tmp_path / "bench.json"
    seen = []
    times = bench.call_torch

    def call_torch(*arguments):  # type: ignore[no-untyped-def]
        seen.append(torch.backends.cudnn.benchmark)
        return times(*arguments)

    monkeypatch.setattr(bench, "call_torch", call_torch)
    for options in ([], ["--torch-default"]):
        seen.clear()
        arguments = ["bench", "--device", "cpu", "--precision", "fp32", "--direction", "forward"]
        arguments += ["--torch-cache", str(cache), "--json", str(path)]
        assert main([*arguments, *options]) == 0
        assert set(seen) == {not options}  # and so not the times of the other setting
        facts = json.loads(path.read_text())["environment"]
        assert facts["cudnn_benchmark"] is (not options)
    assert len(json.loads(cache.read_text())) == 2


def test_bench_times_grouped_layers_with_tf32_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from convt3d_ext.cli import bench

    grouped = Case.parse("mb1_ic4oc4_id3ih3iw3_k3s2g2", name="grouped")
    monkeypatch.setattr(bench, "chosen", lambda *_: [grouped])
    seen = []
    times = bench.call_torch

    def call_torch(*arguments):  # type: ignore[no-untyped-def]
        seen.append(torch.backends.cudnn.conv.fp32_precision)  # type: ignore[attr-defined]
        return times(*arguments)

    monkeypatch.setattr(bench, "call_torch", call_torch)
    cache, path = tmp_path / "torch.json", tmp_path / "bench.json"
    arguments = ["bench", "--device", "cpu", "--direction", "grad_input"]
    arguments += ["--torch-cache", str(cache), "--json", str(path)]
    for precision, allowed in (("tf32", "tf32"), ("fp32", "ieee")):
        seen.clear()
        assert main([*arguments, "--precision", precision]) == 0
        assert set(seen) == {allowed}  # and so not the times of the other setting
        document = json.loads(path.read_text())
        assert {row["precision"] for row in document["rows"]} == {precision}
        assert {":fp32:" in row["case"] for row in document["rows"]} == {True}
        assert {mean["precision"] for mean in document["means"]} == {precision}


def test_bench_stops_in_time(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from convt3d_ext.cli import bench

    monkeypatch.setattr(bench, "chosen", lambda *_: edges("smoke")[:2])
    path = tmp_path / "bench.json"
    arguments = ["bench", "--device", "cpu", "--precision", "fp32", "--direction", "forward"]
    assert main([*arguments, "--time-limit", "1e-9", "--json", str(path)]) == 1
    assert len(json.loads(path.read_text())["not_measured"]) == 2
    assert "out of time" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["verify", "bench"])
@pytest.mark.parametrize("device", ["cuda:99", "meta", "abacus"])
def test_a_device_that_is_not_there(
    command: str, device: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([command, "--device", device]) == 2
    assert device.partition(":")[0] in capsys.readouterr().out


@pytest.mark.parametrize(
    "option",
    [
        "--dtype=int8",
        "--layout=strided",
        "--suite=mine",
        "--problem=mb1",
        "--problem=mb1_ic4oc4_id3ih3iw3_k3:strided",
    ],
)
def test_bad_options(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["verify", option])
    assert stop.value.code == 2
    assert "usage" in capsys.readouterr().err
