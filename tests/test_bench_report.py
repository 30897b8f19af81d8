"""The report: all of it is in one file, names are only text in it, and it works in a browser.

The browser is a Chromium without a window, driven by playwright: the one that ``CONVZOO_CHROMIUM`` names, or that is on
the path, or that ``playwright install chromium`` has put there.
"""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from convzoo.bench.report import data, embedded, page
from convzoo.bench.results import Row, append
from convzoo.cli import main

from .bench_rows import cell, row

EVIL = "</script><img src=x onerror=window.evil=1><b>{{plotly}}&amp;"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome-headless-shell")


def measured(name: str, ratio: float, size: int, speed: float, status: str = "measured", **settings: Any) -> Row:
    """A row of a variant that is ``ratio`` as fast as its peer, which is as large and does ``speed`` images/s."""
    both = {"params": size * 1_000_000, "macs": size * 10**9}
    told = {"faster": ratio > 1.02, "slower": ratio < 0.98, "same": True}
    verdict = "unresolved" if status == "unresolved" else next(word for word, holds in told.items() if holds)
    return row(
        size,
        1 / ratio,
        cell={**cell(name), **settings},
        status=status,
        why="the budget was spent" if status == "unresolved" else "",
        work={"same": True, "ours": both, "theirs": both},
        figures={
            who: {"median_s": 1 / s, "images_per_second": s} for who, s in (("ours", speed * ratio), ("theirs", speed))
        },
        ratio={"value": ratio, "low": ratio - 0.01, "high": ratio + 0.01, "pairs": 40, "verdict": verdict},
        memory={who: {"peak": size * 10**7} for who in ("ours", "theirs")},
        discarded=[{"times": [0.1, 0.2, 0.3, 0.4], "of": "pairs", "why": "steal"}],
    )


def rows() -> list[Row]:
    made = [
        measured("small", 1.05, 10, 100.0),
        measured("large", 0.9, 30, 50.0),
        measured("poor", 1.0, 40, 20.0),
        measured(EVIL, 1.2, 20, 80.0, "unresolved"),
        measured("alone", 1.0, 5, 10.0, engine="compile"),
        row(cell=cell("broken"), status="failed", why=f"no compiler {EVIL}", samples=None, noise=None, ratio=None),
    ]
    for number, each in enumerate(made):
        each.id = str(number)
    return made


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("plotly", reason="needs plotly: pip install 'convzoo[report]'")
    folder = tmp_path_factory.mktemp("report")
    for each in rows():
        append(folder / "results.jsonl", each)
    words = ["--report", str(folder / "out.html"), "--csv", str(folder / "out.csv")]
    assert main(["bench", "--from", str(folder / "results.jsonl"), *words]) == 0
    return folder / "out.html"


def test_all_is_in_the_file_and_nothing_is_asked_of_a_network(report: Path) -> None:
    text = report.read_text(encoding="utf-8")
    assert "plotly.js v" in text
    assert "default-src 'none'" in text
    own = re.sub(r"<script.*?</script>", "", text, flags=re.DOTALL)
    assert not re.findall(r"(?:src|href)\s*=\s*[\"'](?!data:)", own)
    assert "{{" not in own
    assert len(re.findall(r"</script", text, re.IGNORECASE)) == len(re.findall(r"<script[ >]", own + text)) == 5


def test_names_are_only_data_and_come_back_as_they_were(report: Path) -> None:
    text = report.read_text(encoding="utf-8")
    assert "<img" not in text.partition("plotly.js v")[0]
    found = json.loads(re.search(r'id="data">(.*?)</script>', text, re.DOTALL)[1])  # type: ignore[index]
    assert [each["variant"] for each in found["rows"]] == ["small", "large", "poor", EVIL, "alone", "broken"]
    assert found["rows"][5]["verdict"] == "failed"
    assert found["rows"][5]["ratio"] is None
    assert len(found["rows"][0]["samples"]["pairs"]) == 40
    assert len(found["stamps"]) == 1
    assert any("no compiler" in each for each in found["remarks"])
    with report.with_name("out.csv").open(newline="", encoding="utf-8") as file:
        assert len(list(csv.DictReader(file))) == 6


def test_data_are_json_whatever_the_figures_are() -> None:
    made = data([row(noise={"floor": float("inf")}, ratio={"value": float("nan"), "verdict": "unresolved"})])
    assert '"noise_floor": null' in embedded(made)
    assert data([])["rows"] == []


def test_without_plotly_the_extra_is_named_before_anything_is_measured(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "plotly.offline", None)
    monkeypatch.setattr("convzoo.bench.cells.plan", lambda *_, **__: pytest.fail("it was begun"))
    assert main(["bench", "resnet18", "--report", str(tmp_path / "out.html")]) == 2
    assert "pip install 'convzoo[report]'" in capsys.readouterr().err
    assert main(["bench", "resnet18", "--report", str(tmp_path / "none" / "out.html")]) == 2
    assert "there is no folder" in capsys.readouterr().err


def executable(playwright: Any) -> str | None:
    """Of a Chromium, wherever one is."""
    named = os.environ.get("CONVZOO_CHROMIUM")
    found = [named] if named else [*map(shutil.which, BROWSERS), playwright.chromium.executable_path]
    return next((each for each in found if each and Path(each).exists()), None)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    api = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install playwright")
    with api.sync_playwright() as playwright:
        chromium = executable(playwright)
        if chromium is None:
            pytest.skip("no Chromium: set CONVZOO_CHROMIUM, or `playwright install chromium`")
        started = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield started
        started.close()


Opened = Callable[..., Any]


@pytest.fixture(scope="module")
def opened(browser: Any, report: Path) -> Iterator[Opened]:
    """Opens the report; at the end, nothing was said in the console and nothing asked of a network."""
    said: list[str] = []
    asked: list[str] = []

    def open_page(path: Path = report, width: int = 1200) -> Any:
        made = browser.new_page(viewport={"width": width, "height": 900}, color_scheme="light")
        made.on("console", lambda message: said.append(message.text))
        made.on("pageerror", lambda error: said.append(str(error)))
        made.on("request", lambda request: asked.append(request.url))
        made.goto(path.as_uri())
        made.wait_for_selector("body[data-ready]", timeout=60_000)
        return made

    yield open_page
    assert said == []
    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []


@pytest.fixture(scope="module")
def wide(opened: Opened) -> Any:
    """The report in a wide window, for tests that leave its filters, its order and its colours as they are."""
    return opened()


def points(page: Any, id_: str, trace: str) -> list[tuple[float, float]]:
    """What a chart has drawn for a trace, by Plotly's own account."""
    found = page.evaluate(
        "([id, name]) => { const t = document.getElementById(id)._fullData.find((t) => t.name === name);"
        " return Array.from(t.x).map((x, i) => [x, Array.from(t.y)[i]]); }",
        [id_, trace],
    )
    return [(round(x, 6), round(y, 6)) for x, y in found]


def until(holds: Callable[[], bool], limit: float = 20.0) -> None:
    """Wait; the page's policy keeps playwright from waiting in it."""
    end = time.monotonic() + limit
    while not holds():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.05)


def names(page: Any) -> list[str]:
    return list(page.locator("#rows tbody tr td:first-child").all_inner_texts())


def test_points_bars_and_the_pareto_front_are_there(wide: Any) -> None:
    assert points(wide, "params", "ours") == [(10, 105), (30, 45), (40, 20), (20, 96)]
    assert points(wide, "params", "Pareto front") == [(10, 105)]
    assert wide.locator("#params .scatterlayer .trace:nth-child(1) path.point").count() == 4
    assert wide.locator("#ratios .barlayer .trace").nth(1).locator("path").count() >= 5
    assert points(wide, "ratios", "no figures") == [(1, 0)]
    assert wide.locator("#ratios .textpoint").text_content() == "failed"
    assert wide.inner_text("#missing").startswith("Without figures, and not shown: broken (failed)")
    wide.select_option("#group", index=1)
    assert points(wide, "memory", "theirs") == [(50, 10)]
    wide.select_option("#group", index=0)
    assert wide.evaluate("front([{x: 1, y: 1}, {x: 2, y: 3}, {x: 3, y: 2}, {x: 2, y: 2}]).map((p) => p.x)") == [1, 2]


def test_the_table_sorts_and_filters_and_the_charts_follow(opened: Opened) -> None:
    page = opened()
    page.click("th button[data-key=ratio]")
    assert names(page) == ["large", "poor", "alone", "small", EVIL, "broken"]
    page.click("th button[data-key=ratio]")
    assert names(page) == [EVIL, "small", "poor", "alone", "large", "broken"]
    assert page.get_attribute("th:has(button[data-key=ratio])", "aria-sort") == "descending"
    page.select_option("#filter-verdict", label="same")
    assert names(page) == ["poor", "alone"]
    page.fill("#filter-text", "POOR timm")
    assert names(page) == ["poor"]
    assert points(page, "params", "ours") == [(40, 20)]
    assert "1 of 6 rows" in page.inner_text("#summary")


def test_a_click_on_a_row_a_bar_or_a_point_shows_its_samples(wide: Any) -> None:
    wide.click("#rows tbody tr:nth-child(2)")
    assert wide.inner_text("#samples-of").startswith("large | timm:large")
    assert len(points(wide, "samples", "ours")) == len(points(wide, "samples", "theirs")) == 80
    wide.locator("#params .scatterlayer .trace").nth(0).locator("path.point").nth(2).click(force=True)
    assert wide.inner_text("#samples-of").startswith("poor | timm:poor")
    wide.locator("#ratios .barlayer .trace").nth(1).locator(".point path").nth(1).click(force=True)
    assert wide.inner_text("#samples-of").startswith(EVIL)
    wide.click("#rows tbody tr:nth-child(6)")
    assert "broken" in wide.inner_text("#samples-of")
    assert "failed: no compiler" in wide.inner_text("#samples-of")


def test_a_name_runs_nothing_and_is_shown_as_it_is(wide: Any) -> None:
    wide.click("#rows tbody tr:nth-child(4)")
    assert wide.evaluate("window.evil") is None
    assert wide.locator("img").count() == 0
    assert wide.inner_text("#samples-of").startswith(EVIL)
    labels = wide.locator("#ratios .ytick text").all_text_contents()
    assert any(each.startswith(EVIL) for each in labels)


def test_light_and_dark_follow_the_system(wide: Any) -> None:
    look = (
        "() => [getComputedStyle(document.body).backgroundColor,"
        " document.querySelector('#params .main-svg').style.background]"
    )
    assert wide.evaluate(look) == ["rgb(255, 255, 255)"] * 2
    wide.emulate_media(color_scheme="dark")
    until(lambda: wide.evaluate(look) == ["rgb(20, 23, 27)"] * 2)
    wide.emulate_media(color_scheme="light")
    until(lambda: wide.evaluate(look) == ["rgb(255, 255, 255)"] * 2)


def test_a_narrow_window_has_all_of_it_without_scrolling_sideways(opened: Opened) -> None:
    page = opened(width=360)
    page.click("#rows tbody tr:nth-child(1)")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    for id_ in ("params", "macs", "memory", "ratios", "samples"):
        box = page.locator(f"#{id_} .main-svg").first.bounding_box()
        assert 250 < box["width"] <= 360
    page.set_viewport_size({"width": 1200, "height": 900})
    until(lambda: page.locator("#ratios .main-svg").first.bounding_box()["width"] > 1000)
    until(lambda: "timm:small" in (page.locator("#ratios .ytick text").last.text_content() or ""))


def test_a_report_of_no_rows_opens(opened: Opened, tmp_path: Path) -> None:
    (tmp_path / "none.html").write_text(page([]), encoding="utf-8")
    assert "0 of 0 rows" in opened(tmp_path / "none.html").inner_text("#summary")
