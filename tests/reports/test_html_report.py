"""The report in a real browser: it opens, answers, speaks to nobody, and everyone can use it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import LITE0
from data import crops, write_folder
from PIL import Image

from gan_metrics.reports.data import report
from gan_metrics.reports.html_report import save_report

pytestmark = pytest.mark.usefixtures("coarse_lite0")

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
HOSTILE = (
    '<script>hacked=1<!--.jpg', '<img src=x onerror="hacked=2">.jpg', "</title><b>hacked.jpg",
    "'\"><svg onload=hacked=3>.jpg", "${hacked=4}{{7*7}}@image.jpg",
)  # fmt: skip


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of two generators, one with a copy, with names and EXIF blocks of ill will."""
    root = tmp_path_factory.mktemp("report")
    real, near = crops(36, 1), crops(36, 2)
    near[8] = real[5]
    for name, images in (("real", real), ("near", near), ("<dull>", crops(9, 3) * 4)):
        for i, part in enumerate((images[:18], images[18:])):
            write_folder(root / name / "ab"[i], part)
    exif = Image.Exif()
    exif[0x010E] = "</script><script>hacked=5</script>"
    for name, image in zip(HOSTILE, real, strict=False):
        name = name.replace("/", "")
        for folder in ("real", "near"):
            Image.fromarray(image).save(root / folder / "a" / name, exif=exif)
    log = root / "log.jsonl"
    line = {"metric": "<fd>", "value": 3.0, "standard_error": 0.2}
    log.write_text("\n".join(json.dumps({"step": s, **line}) for s in (1, 2, 4)))
    found = report(
        root / "real", [root / "near", root / "<dull>"], history=log, shown=8, places=2,
        backbone=LITE0, device="cpu",
    )  # fmt: skip
    assert any(name in near for name in HOSTILE for near in found.generators[0].near_real)
    return save_report(found, root / "report.html")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("there is no chromium")
    with playwright.sync_playwright() as started:
        yield started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])


class Visit:
    """A page that is open, with what it said and asked for."""

    def __init__(self, browser: Any, page: Path, width: int = 1280, scheme: str = "light") -> None:
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        self.page = context.new_page()
        self.said: list[str] = []
        self.asked: list[str] = []
        self.page.on(
            "console",
            lambda told: self.said.append(told.text) if told.type in ("error", "warning") else None,
        )
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(page.as_uri())
        self.page.wait_for_selector(".plot canvas", state="attached")


@pytest.fixture(scope="module")
def visit(browser: Any, page: Path) -> Visit:
    return Visit(browser, page)


@pytest.mark.parametrize(
    ("width", "scheme"),
    [
        (390, "dark"),
        (1280, "light"),
        pytest.param(390, "light", marks=pytest.mark.slow),
        pytest.param(1280, "dark", marks=pytest.mark.slow),
    ],
)
def test_it_opens_and_everyone_can_use_it(
    browser: Any, page: Path, width: int, scheme: str
) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    visit = Visit(browser, page, width, scheme)
    assert visit.said == []
    others = [url for url in visit.asked if not url.startswith(("file:", "data:", "blob:"))]
    assert others == []
    assert visit.asked[0] == page.as_uri()
    assert visit.page.evaluate("document.documentElement.scrollWidth") <= width
    found = axe.Axe().run(visit.page).response["violations"]
    serious = [one["id"] for one in found if one["impact"] in ("serious", "critical")]
    assert serious == []
    assert visit.page.locator(".plot canvas").count() >= 8  # one for each chart, and the map


def test_names_and_exif_do_nothing(visit: Visit) -> None:
    assert visit.page.evaluate("typeof hacked") == "undefined"
    shown = visit.page.evaluate(
        "[...document.querySelectorAll('button.image')].map(one => one.title)"
    )
    assert any(title.removeprefix("a/") in HOSTILE for title in shown)
    for name in HOSTILE:
        if name in shown:
            visit.page.locator(f'button.image[title="{json.dumps(name)[1:-1]}"]').first.click()
            visit.page.keyboard.press("Escape")
    assert visit.page.evaluate("typeof hacked") == "undefined"
    assert visit.said == []


def test_nothing_may_leave_the_page(browser: Any, page: Path) -> None:
    """Also where somebody's script would get in."""
    visit = Visit(browser, page)
    visit.page.evaluate(
        "() => { const i = new Image(); i.src = 'http://127.0.0.1:9/x.png';"
        " document.body.append(i); return fetch('http://127.0.0.1:9/').catch(() => 0); }"
    )
    visit.page.wait_for_timeout(200)
    refused = [text for text in visit.said if "Content Security Policy" in text]
    for what in ("Connecting to", "Loading the image"):
        assert any(text.startswith(what) for text in refused), refused


def test_an_image_that_is_clicked(visit: Visit) -> None:
    page = visit.page
    button = page.locator("h3:has-text('Near copies') ~ ul button.image").first
    button.focus()
    page.keyboard.press("Enter")
    dialog = page.locator("dialog#image")
    assert dialog.is_visible()
    assert dialog.locator("dt").all_text_contents()[:2] == ["influence", "realism"]
    assert "near copy" in dialog.locator("dt").all_text_contents()
    name = page.locator("#image-name").text_content()
    assert name == button.get_attribute("title")
    near = dialog.locator("#image-near button")
    assert near.count() == 5
    assert dialog.locator("#image-large").evaluate("one => one.naturalWidth") > 0
    nearest = near.first.get_attribute("title")
    near.first.click()
    assert page.locator("#image-name").text_content() == nearest
    page.keyboard.press("Escape")
    assert not dialog.is_visible()
    assert page.evaluate("document.activeElement.className").startswith("image")


def numbers(page: Any, table: str, column: int) -> list[float]:
    cells = page.locator(f"{table} tbody tr").evaluate_all(
        f"rows => rows.map(row => row.cells[{column}])"
        ".map(cell => parseFloat(cell.dataset.value || cell.textContent))"
    )
    return [float(value) for value in cells]


def test_tables_are_sorted(visit: Visit) -> None:
    page = visit.page
    table = "table.scores"
    head = page.locator(f"{table} thead th").nth(1)
    head.locator("button").click()
    values = numbers(page, table, 1)
    assert values == sorted(values)
    assert len(values) == 8
    assert head.get_attribute("aria-sort") == "ascending"
    head.locator("button").click()
    assert numbers(page, table, 1) == values[::-1]
    assert head.get_attribute("aria-sort") == "descending"
    page.locator("#chart-classes summary").click()
    classes = "#chart-classes table"
    page.locator(f"{classes} thead th").nth(3).locator("button").click()
    values = numbers(page, classes, 3)
    assert values == sorted(values)
    assert len(values) == 2


def test_the_map_shows_the_image_under_the_pointer(visit: Visit) -> None:
    page = visit.page
    place = page.locator("#map .plot")
    place.scroll_into_view_if_needed()
    where = page.evaluate(
        """() => {
          const view = Object.values(Bokeh.index.roots || Bokeh.index)
            .find(v => v.model && v.model.renderers && v.model.height === 560);
          const data = view.model.renderers[0].data_source.data;
          const [x, y] = [data.x[0], data.y[0]];
          const frame = view.frame;
          const box = view.el.getBoundingClientRect();
          return [box.x + frame.x_scale.compute(x), box.y + frame.y_scale.compute(y)];
        }"""
    )
    page.mouse.move(*where)
    page.wait_for_timeout(200)
    inside = page.evaluate(
        """() => {
          const found = [];
          const look = root => {
            for (const one of root.querySelectorAll('*')) {
              if (one.tagName === 'IMG' && one.closest('button, figure, dialog') === null)
                found.push(one.src.slice(0, 22));
              if (one.shadowRoot) look(one.shadowRoot);
            }
          };
          look(document);
          return found;
        }"""
    )
    assert "data:image/jpeg;base64" in inside


def test_charts_follow_the_scheme(visit: Visit) -> None:
    page = visit.page
    color = (
        "() => [...Bokeh.documents[0]._all_models.values()]"
        ".find(one => one.axis_label_text_color !== undefined).axis_label_text_color"
    )
    for scheme, expected in (("light", "#222222"), ("dark", "#eeeeee")):
        page.emulate_media(color_scheme=scheme)
        for _ in range(100):  # the page's policy keeps Playwright from waiting in it
            if page.evaluate(color) == expected:
                break
            page.wait_for_timeout(100)
        assert page.evaluate(color) == expected


def test_it_can_be_sent(page: Path) -> None:
    assert page.read_text().count("<!doctype html>") == 1
    assert page.stat().st_size < 6 * 2**20
