"""Everything that needs a GPU, in one call and within a time: ``make gpu``, or ``python benchmarks/gpu.py``.

First the tests that are marked ``gpu``, those of one variant of each family before others; then one variant of each
family beside timm, in bfloat16 and channels_last: inference and training, eager and then compiled. It needs no network
and nothing but torch, timm, torchvision, pluggy and pytest, and goes on after failures. In its folder it leaves

``tests.jsonl``   the result of each test, a line each
``bench.jsonl``   rows of convzoo bench
``gpu.log``       what was printed

The same call goes on with the cells that were not reached. ``--device cpu`` tries all of it without a GPU.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from families import FAMILIES

ROOT = Path(__file__).resolve().parents[1]
STEPS = (("infer", "eager"), ("train", "eager"), ("infer", "compile"), ("train", "compile"))
"""Of the bench, in order: what takes longest comes last."""


def main() -> int:
    """Run all of it; 0 if every test passed and every cell was measured."""
    options = _options()
    start = time.monotonic()
    options.out.mkdir(parents=True, exist_ok=True)
    with open(options.out / "gpu.log", "a", encoding="utf-8") as log, tempfile.TemporaryDirectory() as folder:
        environment = installed(Path(folder))
        say(log, f"device {options.device}, at most {options.minutes:g} minutes")
        passed = True
        if not options.no_tests:
            passed = tests(options, environment, log)
        for mode, engine in STEPS:
            left = options.minutes - (time.monotonic() - start) / 60
            bench(options, environment, log, mode, engine, left)
        measured = summary(options, log)
        say(log, f"done after {(time.monotonic() - start) / 60:.1f} minutes; everything is in {options.out}")
    return 0 if passed and measured else 1


def installed(folder: Path) -> dict[str, str]:
    """The environment for what is started, in which convzoo and its plugins are found, installed or not."""
    environment = dict(os.environ)
    code = "import convzoo, sys; sys.exit('resnest50' not in convzoo.list_models())"
    if subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0:
        return environment
    import tomllib

    paths = [ROOT / "core", *sorted(ROOT.glob("plugins/*/src"))]
    for source in (ROOT, *sorted(ROOT.glob("plugins/*"))):
        project = tomllib.loads((source / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        info = folder / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
        info.mkdir()
        extras = "".join(f"Provides-Extra: {name}\n" for name in project.get("optional-dependencies", ()))
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n{extras}", encoding="utf-8"
        )
        lines = [
            f"[{group}]\n" + "".join(f"{name} = {target}\n" for name, target in points.items())
            for group, points in project.get("entry-points", {}).items()
        ]
        (info / "entry_points.txt").write_text("\n".join(lines), encoding="utf-8")
    path = os.pathsep.join(map(str, (*paths, folder)))
    return {**environment, "PYTHONPATH": os.pathsep.join(filter(None, (path, environment.get("PYTHONPATH", ""))))}


def tests(options: argparse.Namespace, environment: dict[str, str], log: IO[str]) -> bool:
    """Run the tests that are marked; whether none failed."""
    lines = options.out / "tests.jsonl"
    lines.unlink(missing_ok=True)
    marked = [
        str(path.relative_to(ROOT))
        for path in (*sorted(ROOT.glob("tests/test_*.py")), *sorted(ROOT.glob("plugins/*/tests/test_*.py")))
        if "pytest.mark.gpu" in path.read_text(encoding="utf-8")
    ]
    seconds = 60 * options.minutes * options.share
    variables = {
        "LINES": str(lines.resolve()),
        "FIRST": ",".join(FAMILIES.values()),
        "SECONDS": str(seconds),
        "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT / "benchmarks"), environment.get("PYTHONPATH", "")))),
    }
    command = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "-p", "pytest_lines", "--tb=short", *marked]
    code = started(command, environment | variables, log, seconds + 120)
    found = Counter(json.loads(line)["outcome"] for line in _lines(lines))
    say(log, f"tests: {dict(found) or 'none ran'}; pytest ended with {code}")
    return code == 0 and not found["failed"]


def bench(
    options: argparse.Namespace, environment: dict[str, str], log: IO[str], mode: str, engine: str, minutes: float
) -> None:
    """The cells of a step, in one process; if that crashes, those that are left in a process for each variant."""
    if minutes <= 0:
        say(log, f"no time was left for {mode} {engine}")
        return
    common = [sys.executable, "-m", "convzoo", "bench"]
    settings = ["--against", "timm", "--mode", mode, "--engine", engine, "--device", options.device]
    settings += ["--dtype", options.dtype, "--memory-format", "channels_last", "--batch-size", str(options.batch_size)]
    settings += ["--image-size", str(options.image_size), "--budget", str(options.budget), "--in-process"]
    settings += ["--out", str(options.out / "bench.jsonl")]
    start = time.monotonic()
    code = started(
        [*common, *options.variants, *settings, "--minutes", str(minutes)], environment, log, 60 * minutes + 60
    )
    for variant in options.variants if code < 0 or code > 1 else ():
        left = minutes - (time.monotonic() - start) / 60
        if left > 0:
            started([*common, variant, *settings, "--minutes", str(left)], environment, log, 60 * left + 60)


def started(command: list[str], environment: dict[str, str], log: IO[str], limit: float) -> int:
    """What a command ends with, whose output goes to the log and to the terminal; -9 if it was ended at the limit."""
    say(log, f"$ {' '.join(command[1:])}")
    process = subprocess.Popen(
        command, env=environment, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    reader = threading.Thread(target=_pass_on, args=(process.stdout, log), daemon=True)
    reader.start()
    try:
        process.wait(limit)
    except subprocess.TimeoutExpired:
        process.kill()
        say(log, f"ended after {limit:.0f} s")
    process.wait()
    reader.join(5)
    return process.returncode


def summary(options: argparse.Namespace, log: IO[str]) -> bool:
    """Say what the bench has; whether it has a row of each cell, and none failed."""
    rows = {row["id"]: row for row in map(json.loads, _lines(options.out / "bench.jsonl"))}
    found = Counter(row["status"] for row in rows.values())
    wanted = len(options.variants) * len(STEPS)
    say(log, f"bench: {len(rows)} of {wanted} cells: {dict(found)}")
    return len(rows) == wanted and not found["failed"] and not found["interrupted"]


def say(log: IO[str], text: str) -> None:
    """Print a line, and log it."""
    print(text, flush=True)
    log.write(f"{time.strftime('%H:%M:%S')} {text}\n")
    log.flush()


def _pass_on(stream: IO[str], log: IO[str]) -> None:
    for line in stream:
        print(line, end="", flush=True)
        log.write(line)
        log.flush()


def _lines(path: Path) -> Iterator[str]:
    if path.exists():
        yield from path.read_text(encoding="utf-8").splitlines()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--out", type=Path, default=ROOT / "gpu-results")
    parser.add_argument("--minutes", type=float, default=9.5, help="for all of it")
    parser.add_argument("--share", type=float, default=0.3, help="of the time that tests may have")
    parser.add_argument("--no-tests", action="store_true", help="the bench only")
    parser.add_argument("--budget", type=float, default=4.0, help="seconds of timing a cell")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument("--dtype", default="bf16")
    parser.add_argument("variants", nargs="*", default=[*FAMILIES.values()], help="default: one of each family")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
