"""The dashboard in a real browser, from the form to the document."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any, TypeAlias, TypeVar
from urllib.parse import unquote, urlsplit

import pytest

from tests.support.program import Program, Wire
from tests.support.visitor import launch_address

webdriver = pytest.importorskip("selenium.webdriver")
CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        CHROMIUM is None or DRIVER is None,
        reason="needs Debian's packages chromium and chromium-driver",
    ),
]

TOPIC = "Meal kits for people with diabetes"
T = TypeVar("T")


class Page:
    """What a person does with the browser."""

    def __init__(self, driver: Any) -> None:
        self.driver = driver

    def open(self, url: str) -> None:
        self.driver.get(url)

    def all(self, selector: str) -> list[Any]:
        found: list[Any] = self.driver.find_elements("css selector", selector)
        return found

    def one(self, selector: str) -> Any:
        return self.until(lambda: self.all(selector)[:1])[0]

    def text(self) -> str:
        return str(self.driver.find_element("tag name", "main").text)

    def until(self, look: Callable[[], T], seconds: float = 40) -> T:
        """What ``look`` gives once it gives something; pages may change meanwhile."""
        from selenium.common.exceptions import WebDriverException

        end = time.monotonic() + seconds
        while True:
            try:
                if found := look():
                    return found
            except WebDriverException:
                pass
            assert time.monotonic() < end, self.text()[:3000]
            time.sleep(0.05)


@pytest.fixture
def page() -> Iterator[Page]:
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = webdriver.ChromeService(DRIVER)
    with webdriver.Chrome(options=options, service=service) as driver:
        yield Page(driver)


Launched: TypeAlias = tuple[Program, str, "subprocess.Popen[str]"]


@contextmanager
def _launched(program: Program, port: int = 0) -> Iterator[Launched]:
    """The dashboard as the command starts it, and the address that it prints."""
    process = program.start("dashboard", "--no-browser", "--port", str(port))
    try:
        yield program, launch_address(process), process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        process.communicate(timeout=20)


@pytest.fixture
def launched(quick: Program) -> Iterator[Launched]:
    quick.environ["AIGENFLOW_TIMEOUTS__FIRST_EVENT_SECONDS"] = "90"
    with _launched(quick) as dashboard:
        yield dashboard


@pytest.fixture
def priced(program: Program) -> Iterator[Launched]:
    """With the providers' own models, whose prices are known."""
    with _launched(program) as dashboard:
        yield dashboard


def _plan(page: Page, topic: str = TOPIC) -> None:
    page.one('nav a[href="/plan"]').click()
    page.one("#topic").send_keys(topic)
    page.one("#plan button").click()
    page.one("#start")


def _hold_research(wire: Wire) -> None:
    """Both questions of the second phase wait, so that a run stands still at two answers."""
    wire.script(rules=[{"match": {"nth": nth}, "action": {"latency_s": 60}} for nth in (3, 4)])


def test_from_the_form_to_the_document(priced: Launched, page: Page, wire: Wire) -> None:
    """A quote before anything is bought, live progress, the document, its files, and its cost."""
    program, url, _process = priced
    wire.script(defaults={"latency_s": 1})
    page.open(url)
    page.until(lambda: "No documents yet" in page.text())
    assert "#" not in page.driver.current_url

    _plan(page)
    assert wire.bill() == []
    page.one("#start").click()
    seen: set[str] = set()

    def finished() -> bool:
        seen.update(re.findall(r"(\d+) of \d+ answers", page.text()))
        return bool(page.all("iframe"))

    page.until(finished, 60)
    assert len(seen) > 3, "progress arrived while the run went on"
    name = page.driver.current_url.rpartition("/")[2]
    folder = program.folder / "output" / name
    assert len(wire.billed()) == len(json.loads((folder / "metadata.json").read_text())["tasks"])

    page.driver.switch_to.frame(page.one("iframe"))
    assert page.one("h1").text
    page.driver.switch_to.default_content()
    fetch = "return fetch(arguments[0]).then((r) => r.arrayBuffer()).then((b) => b.byteLength)"
    links = [each.get_attribute("href") for each in page.all(".files a")]
    sizes = {
        unquote(link.partition("/files/")[2]): page.driver.execute_script(fetch, link)
        for link in links
    }
    assert {"business_plan.md", "business_plan.html"} <= set(sizes)
    for file, size in sizes.items():
        assert size == (folder / "final" / file).stat().st_size

    page.one('nav a[href="/cost"]').click()
    shown = page.one("#billed data").get_attribute("value")
    stats = json.loads(program("stats", "--json").stdout)
    assert Decimal(shown) == Decimal(stats["total"]["billed_usd"]) > 0
    assert page.one(".tasks, .list").text
    refused = [each for each in page.driver.get_log("browser") if each["level"] == "SEVERE"]
    assert refused == []


def test_a_run_is_cancelled_and_resumed(launched: Launched, page: Page, wire: Wire) -> None:
    """What was finished before the cancel is not bought again."""
    program, url, _process = launched
    _hold_research(wire)
    page.open(url)
    _plan(page)
    page.one("#start").click()
    page.until(lambda: "2 of 13 answers" in page.text())
    page.one(".danger").click()
    page.driver.switch_to.alert.accept()
    page.until(lambda: "Cancelled from the dashboard" in page.text() and not page.all("#live"))
    paid = len(wire.billed())
    wire.script()
    page.one(".state .primary").click()
    page.until(lambda: page.all("iframe"), 60)
    answers = json.loads((program.session() / "metadata.json").read_text())["tasks"]
    assert len(wire.billed()) - paid <= len(answers) - 2


def test_it_works_without_javascript(launched: Launched, wire: Wire) -> None:
    """The token is pasted, forms are sent, pages are read: no script is needed."""
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    options.add_experimental_option(
        "prefs", {"profile.managed_default_content_settings.javascript": 2}
    )
    program, url, _process = launched
    with webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER)) as driver:
        page = Page(driver)
        page.open(url)
        page.one("#token").send_keys(url)
        page.one("#enter button").click()
        page.until(lambda: "No documents yet" in page.text())
        _plan(page)
        page.one("#start").click()

        def finished() -> bool:
            page.driver.refresh()
            return bool(page.all("iframe"))

        page.until(finished, 60)
    assert "# " in program.document()


def test_ctrl_c_ends_it_and_says_how_to_go_on(launched: Launched, page: Page, wire: Wire) -> None:
    """A run that is under way can be resumed from the command line."""
    program, url, process = launched
    _hold_research(wire)
    page.open(url)
    _plan(page)
    page.one("#start").click()
    page.until(lambda: "2 of 13 answers" in page.text())
    process.send_signal(signal.SIGINT)
    _out, told = process.communicate(timeout=20)
    assert process.returncode == 130
    name = program.session().name
    assert f"aigenflow resume {name}" in told
    wire.script()
    assert program("resume", name).returncode == 0


def test_a_page_of_an_earlier_dashboard_says_so(launched: Launched, page: Page, wire: Wire) -> None:
    """It does not stand there as if the run went on, when one was killed and another listens."""
    program, url, process = launched
    _hold_research(wire)
    page.open(url)
    _plan(page)
    page.one("#start").click()
    page.until(lambda: "2 of 13 answers" in page.text())
    process.kill()
    process.communicate(timeout=20)
    with _launched(program, urlsplit(url).port or 0):
        page.until(lambda: "This dashboard is private" in page.text())
