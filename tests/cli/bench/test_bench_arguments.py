"""The arguments of tfs-bench: their types, and the ones that exclude each other."""

from __future__ import annotations

import pytest

from tfs_client.cli.bench.arguments import parse
from tfs_client.cli.bench.contradictions import check
from tfs_client.errors import ConfigError


@pytest.mark.parametrize(
    ("arguments", "name", "value"),
    [
        ("--duration 10", "duration", 10.0),
        ("--duration 500ms", "duration", 0.5),
        ("--duration 2m", "duration", 120.0),
        ("--warmup 0", "warmup", 0.0),
        ("--bound 50ms", "bound", 0.05),
        ("--bound 800us", "bound", 0.0008),
        ("--quantile 99.9", "quantile", 0.999),
        ("--quantile p50", "quantile", 0.5),
        ("--concurrency 1,4,16", "concurrency", (1, 4, 16)),
        ("--rate 0.5,100", "rate", (0.5, 100.0)),
        ("--ramp 10:500", "ramp", (10.0, 500.0)),
        ("--pace 0.5", "pace", 0.5),
        ("--tolerance 5%", "tolerance", 0.05),
        ("--shape ids=?,128", "shape", [("ids", (None, 128))]),
        ("--shape scale=", "shape", [("scale", ())]),
        ("--find-knee", "find_knee", "rate"),
        ("--find-knee concurrency", "find_knee", "concurrency"),
        ("--json", "json", "-"),
        ("--json out.json", "json", "out.json"),
        ("tfs:8500", "target", "tfs:8500"),
    ],
)
def test_values_are_read(arguments: str, name: str, value: object) -> None:
    found = getattr(parse(arguments.split()), name)
    assert found == (pytest.approx(value) if isinstance(value, float) else value)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ("--duration 0", "expected a duration above 0, got '0'"),
        ("--duration 5x", "expected a duration such as 10s, 500ms or 2m, got '5x'"),
        ("--duration inf", "expected a duration such as 10s"),
        ("--bound 50", "expected a latency above 0 with its unit, such as 50ms, got '50'"),
        ("--quantile 0.99", "expected a percentile from 1 to 99.999, such as 99, got '0.99'"),
        ("--quantile 100", "expected a percentile from 1 to 99.999"),
        ("--concurrency 1,0", "expected whole numbers above 0, such as 1,4,16, got '1,0'"),
        ("--rate nan", "expected requests per second above 0, such as 100 or 2.5, got 'nan'"),
        ("--ramp 100", "expected FROM:TO in requests per second, such as 10:500, got '100'"),
        ("--shape ids=1,?", "expected ? for the first size only, the number of rows, got 'ids=1,?'"),
        ("--shape ids", "expected NAME=SIZES, such as tokens=?,128, where ? is the number of rows, got 'ids'"),
        ("--precision 0", "expected a percentage above 0 and below 100, such as 5, got '0'"),
        ("--precision 100", "expected a percentage above 0 and below 100, such as 5, got '100'"),
        ("--pace 0", "expected a number above 0, such as 2 or 0.5, got '0'"),
    ],
)
def test_values_that_mean_nothing_are_refused(arguments: str, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parse(arguments.split())
    assert ended.value.code == 2
    assert text in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ("a:1 --server b:1", "TARGET and --server cannot be combined"),
        ("--rate 1 --concurrency 1", "--concurrency and --rate cannot be combined"),
        ("--rate 1 --ramp 1:2", "--rate and --ramp cannot be combined"),
        ("--pace 1", "--pace needs --recording"),
        ("--recording r --rows 2", "--recording and --rows cannot be combined"),
        ("--recording r --image a.png", "--recording and --image cannot be combined"),
        ("--recording r --signature s", "--recording and --signature cannot be combined"),
        ("--inputs a.npz --rows 2", "--inputs and --rows cannot be combined"),
        ("--image a.png --shape x=1", "--image and --shape cannot be combined"),
        ("--size 4x4", "--size needs --image"),
        ("--exif off", "--exif needs --image"),
        ("--arrivals fixed", "--arrivals needs --rate, --ramp or --find-knee"),
        ("--find-knee", "--find-knee needs --bound LATENCY"),
        ("--find-knee --bound 5ms --rate 5", "--find-knee and --rate cannot be combined"),
        ("--find-knee concurrency --bound 5ms --arrivals fixed", "--arrivals applies to rates"),
        ("--quantile 99", "--quantile needs --find-knee"),
        ("--rtol 0.1", "--rtol needs --check"),
        ("--check recorded", "--check recorded needs --recording"),
        ("--tolerance 5", "--tolerance needs --compare"),
        ("--compare b:1 --concurrency 1,2", "expected a single --concurrency or --rate, got several"),
        ("--compare b:1 --rate 5 --metric throughput", "both answer as many requests as are sent"),
        ("--rate 5 --max-in-flight 2 --processes 3", "expected --max-in-flight of at least 3, one for each"),
        ("--input x=1 --input x=2", "--input x appears more than once"),
        ("--shape x=1 --shape x=2", "--shape x appears more than once"),
        ("--version 1 --label stable", "--version and --label cannot be combined"),
        ("--processes 1000", "expected --processes of at most 256, got 1000"),
    ],
)
def test_options_without_effect_are_refused(arguments: str, text: str) -> None:
    with pytest.raises(ConfigError) as raised:
        check(parse(arguments.split()))
    assert text in str(raised.value)


@pytest.mark.parametrize(
    "arguments",
    [
        "tfs:8500 --model m",
        "--recording r --pace 2 --check recorded --rtol 0.1 --model a=b --version 2",
        "--rate 1,2 --arrivals fixed --max-in-flight 10 --bound 5ms",
        "--find-knee --bound 5ms --quantile 99 --arrivals fixed",
        "--image a.png --size 4x4 --rows 2 --distinct 3 --input flag=true",
        "--rtol 0 --check first",
        "--compare b:1 --compare-version 2 --tolerance 0 --rate 5 --metric p99 --pairs 10",
        "--find-knee concurrency --bound 5ms --highest 64 --max-stages 5",
    ],
)
def test_other_options_go_together(arguments: str) -> None:
    check(parse(arguments.split()))
