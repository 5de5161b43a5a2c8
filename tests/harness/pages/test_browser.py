"""The page in a real browser, from a file: sorting, filters, links to a view, themes, a phone's width."""

import io
import itertools
import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.harness.pages.made import HOSTILE, measured, reported, stored

pytestmark = pytest.mark.browser

METHODS = ("balpoe", "prl", "ride", "sade", HOSTILE)
ENTRIES = len(METHODS) * 4 * 11
PHONE, DESKTOP = (390, 844), (1280, 900)


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The page of five methods, one of them with a hostile name."""
    folder = tmp_path_factory.mktemp("browser")
    found = list(itertools.chain.from_iterable(measured(method, seeds=(0,)) for method in METHODS))
    result = reported(stored(folder / "results", found), folder / "out")
    assert result.status == 0, result.err
    return (folder / "out" / "index.html").as_uri()


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> "Iterator[Any]":
    """Chromium without a window. Selenium is given the driver, so that it looks for none on the network."""
    pytest.importorskip("selenium")
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    driver, browser = shutil.which("chromedriver"), shutil.which("chromium") or shutil.which("google-chrome")
    if driver is None or browser is None:
        pytest.skip(f"no {'chromedriver' if driver is None else 'Chromium'} on PATH")
    options = webdriver.ChromeOptions()
    options.binary_location = browser
    profile = tmp_path_factory.mktemp("profile")
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    options.add_argument(f"--user-data-dir={profile}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    running = webdriver.Chrome(options=options, service=Service(executable_path=driver))
    try:
        yield running
    finally:
        running.quit()


@pytest.fixture
def browser(started: Any, address: str) -> "Iterator[Any]":
    """The page as first opened, at a desktop's width in light mode; nothing may be logged meanwhile."""
    screen(started, *DESKTOP)
    scheme(started, "light")
    started.get("about:blank")
    started.get(address)
    started.execute_script("localStorage.clear(); delete document.documentElement.dataset.theme;")
    started.get_log("browser")
    yield started
    assert started.get_log("browser") == []


def screen(browser: Any, width: int, height: int) -> None:
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


def scheme(browser: Any, name: str) -> None:
    features = [{"name": "prefers-color-scheme", "value": name}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})


def again(browser: Any, address: str) -> None:
    """Open an address as if in a new window: a change of the hash alone would not load the page again."""
    browser.get("about:blank")
    browser.get(address)


def column(browser: Any, label: str) -> list[str]:
    """The texts of one column of the table, as shown."""
    texts: list[str] = browser.execute_script(
        """
        const heads = [...document.querySelectorAll("#board thead th")];
        const place = heads.findIndex(head => head.textContent.trim() === arguments[0]);
        return [...document.querySelectorAll("#board tbody tr")].map(row => row.children[place].textContent);
        """,
        label,
    )
    return texts


def head(browser: Any, label: str) -> Any:
    """The button in a column's heading."""
    for button in browser.find_elements("css selector", "#board thead button"):
        if button.text.strip() == label:
            return button
    raise AssertionError(f"no column {label}")


def choose(browser: Any, key: str, *values: str) -> None:
    """Tick values of a filter as a reader does: open it, click."""
    box = browser.find_element("css selector", f'#filters details[data-key="{key}"]')
    box.find_element("tag name", "summary").click()
    for label in box.find_elements("tag name", "label"):
        if label.text.strip() in values:
            label.find_element("tag name", "input").click()
    box.find_element("tag name", "summary").click()


def state(browser: Any) -> str:
    found: str = browser.execute_script("return location.hash")
    return found


def luminance(browser: Any, selector: str, name: str) -> float:
    """Relative luminance (WCAG 2) of a colour of the first element that matches."""
    text = browser.execute_script(
        "return getComputedStyle(document.querySelector(arguments[0]))[arguments[1]]", selector, name
    )
    return relative_luminance([int(part) for part in re.findall(r"\d+", text)[:3]])


def relative_luminance(colour: Sequence[int]) -> float:
    """Relative luminance (WCAG 2) of a colour given as red, green and blue up to 255."""
    parts = [part / 255 for part in colour]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(browser: Any, selector: str) -> float:
    """Contrast of an element's text with the page."""
    lights = sorted((luminance(browser, selector, "color"), luminance(browser, "body", "backgroundColor")))
    return (lights[1] + 0.05) / (lights[0] + 0.05)


def test_it_opens_with_every_result_at_hand(browser: Any) -> None:
    assert browser.find_element("id", "count").text == f"200 of {ENTRIES} results shown"
    assert len(column(browser, "method")) == 200
    browser.find_element("id", "more").click()
    assert len(column(browser, "method")) == ENTRIES
    assert browser.find_element("id", "count").text == f"{ENTRIES} of {ENTRIES} results shown"
    assert not browser.find_element("id", "more").is_displayed()
    assert set(column(browser, "method")) == set(METHODS)
    assert column(browser, "shift") == sorted(column(browser, "shift"), key=column(browser, "shift").index)
    assert state(browser) == ""


def said(browser: Any) -> str:
    text: str = browser.find_element("id", "pick").text
    return text


def bars(browser: Any) -> list[str]:
    """What each line of the first figure says, to who hears it too."""
    lines: list[str] = browser.execute_script(
        "return [...document.querySelectorAll('#bars li')].map(line => [...line.children].map(part => "
        "part.textContent.trim()).filter(Boolean).join('; '))"
    )
    return lines


def test_the_chooser_fills_sentence_and_figure(browser: Any) -> None:
    from selenium.webdriver.support.ui import Select

    whole, figure = said(browser), bars(browser)
    assert whole.startswith("With the unlabelled test set at hand, over the 11 published shifts: ")
    assert figure[0].split("; ")[0] in whole
    assert figure[0].endswith("cannot be told apart from the best")
    browser.find_element("css selector", "#chooser [value=inductive]").click()
    nothing = bars(browser)
    assert said(browser).startswith("With no test data at hand, over the 11 published shifts: ")
    assert all("no adaptation" in line for line in nothing)
    Select(browser.find_element("id", "over")).select_by_visible_text("uniform")
    assert said(browser).startswith("With no test data at hand, on uniform: ")
    assert bars(browser) != nothing
    places = browser.execute_script("return [...document.querySelectorAll('#bars .dot')].map(dot => dot.style.left)")
    assert all(0 <= float(place.rstrip("%")) <= 100 for place in places)
    Select(browser.find_element("id", "over")).select_by_index(0)
    browser.find_element("css selector", "#chooser [value=transductive]").click()
    assert (said(browser), bars(browser)) == (whole, figure), "as the page was without the script"


def test_what_was_not_measured_cannot_be_chosen(browser: Any) -> None:
    for selector in ("[value=stream]", "[name=source]"):
        assert not browser.find_element("css selector", f"#chooser {selector}").is_enabled()


@pytest.mark.parametrize("size", [PHONE, (1300, 900)])
def test_the_chooser_by_keyboard(browser: Any, address: str, size: tuple[int, int]) -> None:
    from selenium.webdriver.common.keys import Keys

    screen(browser, *size)
    again(browser, address)
    browser.find_element("id", "theme").send_keys(Keys.TAB)
    assert browser.switch_to.active_element.get_attribute("value") == "transductive"
    browser.switch_to.active_element.send_keys(Keys.ARROW_UP)
    assert said(browser).startswith("With no test data at hand, over the 11")
    browser.switch_to.active_element.send_keys(Keys.TAB)
    assert browser.switch_to.active_element.get_attribute("id") == "over"
    assert browser.execute_script("return getComputedStyle(document.activeElement).outlineStyle") == "solid"
    browser.switch_to.active_element.send_keys(Keys.ARROW_DOWN)
    assert ", on forward_lt-50: " in said(browser)
    width = "return [document.documentElement.scrollWidth, document.documentElement.clientWidth]"
    wide, seen = browser.execute_script(width)
    assert wide == seen


def test_the_chooser_is_read_aloud(browser: Any) -> None:
    nodes = browser.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    named = {(node["role"]["value"], node.get("name", {}).get("value", "")) for node in nodes if not node["ignored"]}
    assert {("group", "You have"), ("radio", "no test images"), ("checkbox", "labelled source images besides")} <= named
    assert {("combobox", "Test shifts"), ("combobox", "Data, training set, recipe")} <= named
    assert browser.find_element("id", "pick").get_attribute("aria-live") == "polite"


def test_the_first_screen_fits(browser: Any) -> None:
    """Sentence, figure and chooser are seen without scrolling."""
    bottom = "return document.querySelector('#bars ol').getBoundingClientRect().bottom"
    assert browser.execute_script(bottom) < DESKTOP[1]


def test_a_click_sorts_and_another_turns_round(browser: Any) -> None:
    browser.find_element("id", "more").click()
    head(browser, "top-1 %").click()
    browser.find_element("id", "more").click()
    falling = [float(value) for value in column(browser, "top-1 %")]
    assert len(falling) == ENTRIES
    assert falling == sorted(falling, reverse=True)
    assert len(set(falling)) > 10
    assert state(browser) == "#table?sort=-top1"
    heading = head(browser, "top-1 %").find_element("xpath", "..")
    assert heading.get_attribute("aria-sort") == "descending"
    head(browser, "top-1 %").click()
    browser.find_element("id", "more").click()
    assert [float(value) for value in column(browser, "top-1 %")] == falling[::-1]
    assert heading.get_attribute("aria-sort") == "ascending"
    sorts = [cell.get_attribute("aria-sort") for cell in browser.find_elements("css selector", "#board thead th")]
    assert sorts.count("none") == len(sorts) - 1


def test_the_keyboard_sorts_too(browser: Any) -> None:
    from selenium.webdriver.common.keys import Keys

    head(browser, "method").send_keys(Keys.ENTER)
    shown = column(browser, "method")
    assert shown == sorted(shown)
    assert state(browser) == "#table?sort=method"


def test_absent_values_stay_at_the_end(browser: Any) -> None:
    head(browser, "TV est").click()
    assert set(column(browser, "TV est")) == {"-"}
    browser.execute_script("document.getElementById('board').scrollLeft = 0")
    head(browser, "shift").click()
    assert column(browser, "shift")[0] == "forward_lt-50"


def test_filters_keep_what_a_row_may_have_known(browser: Any) -> None:
    choose(browser, "prior", "estimated", "oracle")
    assert set(column(browser, "prior access")) == {"estimated", "oracle"}
    assert state(browser) == "#table?prior=estimated,oracle"
    assert browser.find_element("id", "count").text == f"110 of 110 results shown, {ENTRIES} in all"
    choose(browser, "test", "transductive")
    choose(browser, "shift", "uniform")
    assert set(column(browser, "adapter")) == {"em"}
    assert len(column(browser, "adapter")) == len(METHODS)
    browser.find_element("id", "reset").click()
    assert state(browser) == "#results"
    assert len(column(browser, "method")) == 200


def test_a_link_brings_the_view_back(browser: Any, address: str) -> None:
    choose(browser, "method", "balpoe", HOSTILE)
    choose(browser, "adapter", "sade")
    head(browser, "few").click()
    head(browser, "top-1 %").click()
    kept, shown = state(browser), column(browser, "shift")
    assert len(shown) == 22
    again(browser, address + kept)
    assert column(browser, "shift") == shown
    assert set(column(browser, "method")) == {"balpoe", HOSTILE}
    ticked = browser.find_elements("css selector", "#filters input:checked")
    assert len(ticked) == 3
    assert browser.find_element("css selector", '#filters [data-key="adapter"] summary').text == "adapter: sade"
    top = browser.execute_script("return document.getElementById('results').getBoundingClientRect().top")
    assert abs(top) < 60


def test_the_way_back_in_the_page_keeps_the_view(browser: Any) -> None:
    choose(browser, "labels", "none")
    head(browser, "NLL").click()
    shown = column(browser, "shift")
    browser.execute_script("location.hash = '#reading'")
    assert column(browser, "shift") == shown
    browser.execute_script("location.hash = '#table?sort=method&prior=oracle'")
    browser.execute_async_script("setTimeout(arguments[0], 50)")
    assert set(column(browser, "prior access")) == {"oracle"}


@pytest.mark.parametrize(
    "bad",
    [
        *("sort=constructor", "method=%E0%A4%A"),
        *(pytest.param(bad, marks=pytest.mark.exhaustive) for bad in ("prior=nothing", "__proto__=x", "top1=5", "&&=")),
    ],
)
def test_a_broken_link_shows_everything(browser: Any, address: str, bad: str) -> None:
    again(browser, f"{address}#table?{bad}")
    assert len(column(browser, "method")) == 200


def test_a_hostile_name_is_only_text(browser: Any) -> None:
    assert browser.execute_script("return document.querySelectorAll('script').length") == 3
    choose(browser, "method", HOSTILE)
    assert set(column(browser, "method")) == {HOSTILE}


@pytest.mark.parametrize("theme", ["light", pytest.param("dark", marks=pytest.mark.exhaustive)])
def test_nothing_runs_over_the_edge_of_a_phone(browser: Any, address: str, theme: str) -> None:
    screen(browser, *PHONE)
    scheme(browser, theme)
    again(browser, address)
    width = "return [document.documentElement.scrollWidth, document.documentElement.clientWidth]"
    assert browser.execute_script(width) == [PHONE[0], PHONE[0]]
    browser.execute_script("document.querySelectorAll('details').forEach(box => { box.open = true; })")
    assert browser.execute_script(width) == [PHONE[0], PHONE[0]]
    wide = browser.execute_script(
        "return [...document.querySelectorAll('.box')].filter(box => box.scrollWidth > box.clientWidth + 1).length"
    )
    assert wide > 3


def test_the_theme_follows_the_system_and_the_button(browser: Any, address: str) -> None:
    assert luminance(browser, "body", "backgroundColor") > 0.8
    scheme(browser, "dark")
    assert luminance(browser, "body", "backgroundColor") < 0.05
    button = browser.find_element("id", "theme")
    assert button.text == "Light theme"
    button.click()
    assert luminance(browser, "body", "backgroundColor") > 0.8
    assert button.text == "Dark theme"
    again(browser, address)
    assert luminance(browser, "body", "backgroundColor") > 0.8
    browser.find_element("id", "theme").click()
    scheme(browser, "light")
    assert luminance(browser, "body", "backgroundColor") < 0.05


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_texts_stand_out(browser: Any, theme: str) -> None:
    """4.5 to 1 for text (WCAG 2, AA), in the figures too."""
    scheme(browser, theme)
    for selector in ("p", ".quiet", "nav a", "#board tbody th", "#board tr.told td", ".mark", "figcaption"):
        assert contrast(browser, selector) >= 4.5, selector
    pixels = Image.open(io.BytesIO(browser.find_element("css selector", "svg.themed text").screenshot_as_png))
    lights = sorted(relative_luminance(colour[:3]) for _, colour in pixels.getcolors(2**24))
    assert (lights[-1] + 0.05) / (lights[0] + 0.05) >= 4.5
    paper = pixels.getpixel((0, 0))[:3]
    assert relative_luminance(paper) == pytest.approx(luminance(browser, "body", "backgroundColor")), "no box around it"


def test_without_scripts_the_answer_and_the_tables_are_there(browser: Any, address: str) -> None:
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        again(browser, address)
        tree = browser.execute_cdp_cmd("Accessibility.getFullAXTree", {})
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
    texts = {node.get("name", {}).get("value", "") for node in tree["nodes"] if not node["ignored"]}
    assert any("Without it, the tables above hold the accuracy" in text for text in texts)
    assert any(
        text.startswith("With the unlabelled test set at hand, over the 11 published shifts: ") for text in texts
    )
    assert "What to use" in texts
    assert not texts & {"You have", "Test shifts"}, "what does nothing is not there"
    assert "Dark theme" not in texts


def test_it_prints_on_white(browser: Any, tmp_path: Path) -> None:
    scheme(browser, "dark")
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    try:
        assert luminance(browser, "body", "backgroundColor") > 0.8
        assert not browser.find_element("id", "filters").is_displayed()
        assert contrast(browser, "p") >= 4.5
    finally:
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
