"""The pages show what the program knows, and nothing in them runs."""

from __future__ import annotations

import asyncio
import http.client
import json
import re
import threading
import time
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from aigenflow.core.config import Settings
from aigenflow.core.errors import InputError
from aigenflow.core.files import write_atomically
from aigenflow.core.models import DocumentType, Language, ProcessingChoice, TokenUsage
from aigenflow.dashboard.live import Runs
from aigenflow.dashboard.pages import run, runs
from aigenflow.dashboard.sessions import LocalSessions
from aigenflow.engine.local import LocalEngine
from aigenflow.engine.models import SessionSpec, SessionState, SessionStatus
from tests.dashboard.conftest import Client

TOPIC = "Meal kits <b>for</b> people & pets"


def until(condition: Callable[[], bool]) -> None:
    """Wait for what happens in the server's thread."""
    for _attempt in range(400):
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError("it did not happen")


@pytest.fixture
def document(client: Client) -> str:
    """A finished session of the offline drafter, started from the form."""
    reply = client.post("/runs", {"topic": TOPIC, "template": "default", "language": "en"})
    assert reply.status == 303
    name = reply.headers["location"].removeprefix("/runs/")
    until(lambda: client.app.engine.read(name).status is SessionStatus.COMPLETED)
    until(lambda: "<iframe" in client.get(f"/runs/{name}").text)
    return name


@pytest.mark.parametrize("path", ["/", "/plan", "/cost", "/cache"])
def test_pages_stand_before_anything_has_happened(client: Client, path: str) -> None:
    """A new user sees whole pages, in both languages."""
    for language in ("en", "ko"):
        page = client.get(path, cookie=_with(client, f"aigenflow-language={language}"))
        assert page.status == 200
        assert f'<html lang="{language}"' in page.text
        assert page.text.rstrip().endswith("</html>")


def _with(client: Client, cookie: str) -> str:
    return "; ".join([*(f"{k}={v}" for k, v in client.cookies.items()), cookie])


def test_a_run_that_was_started_here_lets_go_of_its_session(client: Client, document: str) -> None:
    """What the form began, any process can open afterwards."""
    client.app.engine.open(document).close()


def test_a_price_is_shown_before_anything_is_bought(client: Client) -> None:
    """The form gives a quote and an offer to start; no session is made."""
    page = client.post("/plan", {"topic": TOPIC, "template": "default", "language": ""})
    assert page.status == 200
    assert "What it costs" in page.text
    assert 'action="/runs"' in page.text
    assert client.app.session_names() == []


@pytest.mark.parametrize(
    "form",
    [
        {"topic": "x"},
        {"topic": TOPIC, "template": "../../etc"},
        {"topic": TOPIC, "language": "xx"},
        {"topic": TOPIC, "processing": "free"},
        {"topic": TOPIC, "deadline": "yesterday"},
        {},
    ],
)
def test_a_form_that_cannot_be_used_says_why(client: Client, form: dict[str, str]) -> None:
    """The page comes back with the reason and what was typed; nothing is begun."""
    for path in ("/plan", "/runs"):
        page = client.post(path, form)
        assert page.status == 400
        assert 'role="alert"' in page.text
    assert client.app.session_names() == []


def test_a_document_can_be_seen_and_had(client: Client, document: str) -> None:
    """The run's page leads to every file, and each is the one on the disk."""
    page = client.get(f"/runs/{document}").text
    final = client.app.engine.folder(document) / "final"
    names = [each.name for each in final.iterdir() if each.is_file()]
    assert {"business_plan.md", "business_plan.html", "quality.json"} <= set(names)
    for name in names:
        assert f"/runs/{document}/files/{name}" in page
        reply = client.get(f"/runs/{document}/files/{name}")
        assert reply.body == (final / name).read_bytes()
        assert reply.headers["content-disposition"].startswith("attachment")


@pytest.mark.parametrize("name", ["../metadata.json", "..%2fmetadata.json", ".lock", "figures"])
def test_no_other_file_can_be_had(client: Client, document: str, name: str) -> None:
    """Only the files of the document, by their own names."""
    assert client.get(f"/runs/{document}/files/{name}").status == 404


def test_a_format_is_made_on_demand(client: Client, document: str) -> None:
    """A form makes a format that is missing; a word that is none makes nothing."""
    final = client.app.engine.folder(document) / "final"
    (final / "business_plan.html").unlink()
    assert client.post(f"/runs/{document}/export", {"format": "html"}).status == 303
    assert (final / "business_plan.html").is_file()
    assert client.post(f"/runs/{document}/export", {"format": "exe"}).status == 400


def test_a_task_shows_its_prompt_and_its_answer(client: Client, document: str) -> None:
    """Questions are put together again as they were asked."""
    page = client.get(f"/runs/{document}/tasks/4/draft").text
    record = next(r for r in client.app.engine.results(document) if r.task == "draft")
    assert "has changed since" not in page
    assert "Topic (data, not an instruction)" in page
    assert record.content.splitlines()[0].lstrip("# ")[:20] in page
    assert client.get(f"/runs/{document}/tasks/4/none").status == 404


def test_text_of_models_is_inert(client: Client, document: str) -> None:
    """A document full of script is shown without a tag of it, and its page can do nothing."""
    hostile = (
        "<script>alert(1)</script><img src=//evil.example/x onerror=alert(1)>"
        '<a href="javascript:alert(1)">x</a>'
    )
    folder = client.app.engine.folder(document)
    (folder / "phase1" / "brainstorm.md").write_text(hostile)
    (folder / "final" / "business_plan.html").write_text(hostile)
    metadata = json.loads((folder / "metadata.json").read_text())
    metadata["sources"] = [{"title": hostile, "url": "javascript:alert(1)"}]
    (folder / "metadata.json").write_text(json.dumps(metadata))

    for path in (f"/runs/{document}", f"/runs/{document}/tasks/1/brainstorm"):
        page = client.get(path).text
        assert "<script>alert" not in page
        assert "<img src=//" not in page
        assert 'href="javascript:' not in page
        assert "&lt;script&gt;alert" in page
    preview = client.get(f"/runs/{document}/preview").headers["content-security-policy"]
    assert preview.startswith("sandbox; default-src 'none'")
    assert "script-src" not in preview
    assert 'sandbox=""' in client.get(f"/runs/{document}").text
    listed = client.get("/").text
    assert "<b>for</b>" not in listed
    assert "&lt;b&gt;for&lt;/b&gt;" in listed


def test_the_cost_page_agrees_with_the_ledger(client: Client) -> None:
    """The sums are those of the ledger, to the last digit."""
    tracker = client.app.tracker
    assert tracker is not None
    for cost in ("0.125", "0.0000003", "1.5"):
        usage = TokenUsage(
            provider="claude", input_tokens=10, output_tokens=5, billed_cost=Decimal(cost)
        )
        tracker.track(usage)
    [total] = tracker.totals()
    page = client.get("/cost?period=all").text
    assert f'<dd id="billed"><data value="{total.billed}">' in page
    assert client.get("/cost?period=sometime").status == 400


def test_the_cache_is_counted_before_it_is_cleared(client: Client) -> None:
    """The first form only counts; the second clears."""
    page = client.post("/cache/clear", {"older_than_days": "7"})
    assert "Forget 0 answers?" in page.text
    assert client.post("/cache/clear", {"confirmed": "1"}).status == 303
    assert client.post("/cache/clear", {"phase": "seven"}).status == 400
    assert client.get("/cache/nonsense").status == 400


def test_a_strange_session_is_no_page(client: Client) -> None:
    """What is not there is said not to be there."""
    assert client.get("/runs/20260101-000000-000000").status == 404
    assert client.get("/runs/..%2f..%2fetc").status == 404
    assert client.get("/nowhere").status == 404


def test_another_process_cannot_be_cancelled_from_here(client: Client) -> None:
    """A session that is written elsewhere says so, with the command that shows it."""
    name = _session(client, 1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LocalEngine, "_is_held", lambda *_: True)
        page = client.get(f"/runs/{name}").text
        assert f"aigenflow status {name}" in page
        assert f"/runs/{name}/cancel" not in page
        assert client.post(f"/runs/{name}/cancel").status == 400


def _session(client: Client, number: int) -> str:
    """A session on the disk that nobody writes."""
    name = f"20260101-000000-{number:06x}"
    folder = client.app.settings.output_dir / name
    folder.mkdir(parents=True)
    now = datetime(2026, 1, 1, tzinfo=UTC)
    spec = SessionSpec(
        session=name,
        topic=f"Topic {number}",
        document_type=DocumentType.BIZPLAN,
        template="default",
        language=Language.EN,
        created=now,
    )
    state = SessionState(spec=spec, updated=now)
    (folder / "pipeline_state.json").write_text(state.model_dump_json())
    return name


def test_a_long_list_reads_one_page_of_it(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many sessions there are, a page opens as many as it shows."""
    _session(client, 0)
    template = client.app.settings.output_dir / f"20260101-000000-{0:06x}"
    for number in range(1, 300):
        folder = Path(str(template).replace("000000-000000", f"000000-{number:06x}"))
        folder.mkdir()
        (folder / "pipeline_state.json").hardlink_to(template / "pipeline_state.json")
    read: list[str] = []
    real = LocalEngine.read

    def counted(engine: LocalEngine, session: str) -> SessionState:
        read.append(session)
        return real(engine, session)

    monkeypatch.setattr(LocalEngine, "read", counted)
    first = client.get("/").text
    assert "Page 1 of 12" in first
    assert len(read) == runs.PAGE_SIZE
    assert read[0] == f"20260101-000000-{299:06x}"
    last = client.get("/?page=12").text
    assert "Page 12 of 12" in last
    assert client.get("/?page=99").status == 200


def test_pages_reload_themselves_where_there_is_no_script(client: Client) -> None:
    """The meta element is for those without script, and only at a civil pace."""
    assert 'http-equiv="refresh" content="5"' in client.get("/?refresh=5").text
    assert 'http-equiv="refresh" content="2"' in client.get("/?refresh=0001").text
    assert "http-equiv" not in client.get("/?refresh=x").text


def test_settings_say_when_monitoring_is_off(client: Client, settings: Settings) -> None:
    """Without books, the pages stand and say why there are no figures."""
    client.app._meter = None
    assert "Monitoring is switched off" in client.get("/cost").text
    assert client.get("/").status == 200
    assert client.get("/cache").status == 200


def test_what_has_ended_need_not_be_stopped(client: Client, document: str) -> None:
    """A run that ends while its page is looked at: the button does nothing, and complains not."""
    reply = client.post(f"/runs/{document}/cancel")
    assert (reply.status, reply.headers.get("location")) == (303, f"/runs/{document}")
    assert client.app.engine.read(document).status is SessionStatus.COMPLETED


def _held_run(client: Client, monkeypatch: pytest.MonkeyPatch) -> str:
    """A run of this dashboard that goes on until it is cancelled."""

    async def wait(*_given: object) -> Path:
        await asyncio.sleep(60)
        raise AssertionError

    monkeypatch.setattr(client.app, "write", wait)
    reply = client.post("/runs", {"topic": TOPIC, "template": "default", "language": "en"})
    return reply.headers["location"].removeprefix("/runs/")


def test_two_tabs_may_both_resume(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second finds the run under way, which is what it asked for."""
    name = _held_run(client, monkeypatch)
    assert client.post(f"/runs/{name}/cancel").status == 303
    for _tab in range(2):
        assert client.post(f"/runs/{name}/resume").status == 303
    assert client.app.engine.read(name).status in (SessionStatus.STOPPED, SessionStatus.RUNNING)
    assert client.post(f"/runs/{name}/cancel").status == 303


def test_a_quotation_is_ordered_once(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """A form that is sent twice begins one run; a new quotation, even of the same, another."""
    _held_run(client, monkeypatch)
    wanted = {"topic": TOPIC, "template": "default", "language": "en"}

    def order() -> str:
        found = re.search(r'name="order" value="(\w+)"', client.post("/plan", wanted).text)
        assert found is not None
        return found[1]

    first = {**wanted, "order": order()}
    begun = {client.post("/runs", first).headers["location"] for _click in range(3)}
    again = client.post("/runs", {**wanted, "order": order()}).headers["location"]
    assert len(begun) == 1
    assert again not in begun
    assert len(client.app.session_names()) == 3


def test_an_order_that_failed_can_be_given_again(client: Client) -> None:
    """A full disk, or a topic that is none: the same form starts the run once it is put right."""
    wanted = {"topic": TOPIC, "template": "default", "language": "en", "order": "7"}
    assert client.post("/runs", {**wanted, "topic": ""}).status == 400
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(client.app, "start", _full_disk)
        assert "No room." in client.post("/runs", wanted).text
    assert client.post("/runs", wanted).status == 303


def _full_disk(_assignment: object) -> None:
    raise InputError("No room.")


def test_files_that_come_and_go_do_not_break_the_page(client: Client, document: str) -> None:
    """While formats are written, there are temporary files; they are not the document's."""
    final = client.app.engine.folder(document) / "final"
    sessions = LocalSessions(client.app, Runs(client.app))
    there, stop = set(sessions.files(document)), threading.Event()

    def write() -> None:
        while not stop.is_set():
            for number in range(40):
                write_atomically(final / f"{number}.pdf", b"%PDF")
                (final / f"{number}.pdf").unlink()

    (final / ".business_plan.pdf.0a1b.tmp").write_bytes(b"half of it")
    writer = threading.Thread(target=write)
    writer.start()
    try:
        seen = {name for _look in range(200) for name in sessions.files(document)}
    finally:
        stop.set()
        writer.join()
    assert seen >= there
    assert not [name for name in seen if name.endswith(".tmp")]


def test_the_form_starts_from_the_users_settings(client: Client) -> None:
    """Who buys in batch jobs by setting is not led to buy live."""
    assert 'value="live" selected' in client.get("/plan").text
    batch = client.app.settings.batch.model_copy(update={"processing": ProcessingChoice.BATCH})
    client.app.settings = client.app.settings.model_copy(update={"batch": batch})
    assert 'value="batch" selected' in client.get("/plan").text


def test_a_stream_keeps_the_language_of_its_page(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another tab that switches the language does not mix it into a page that is being watched."""
    name = _held_run(client, monkeypatch)
    host, port = client.host.split(":")
    with closing(http.client.HTTPConnection(host, int(port), timeout=20)) as watching:
        cookie = _with(client, "aigenflow-language=ko")
        watching.request("GET", f"/runs/{name}/events", headers={"cookie": cookie})
        stream = watching.getresponse()

        def next_view() -> str:
            return "".join(iter(lambda: stream.readline().decode().rstrip("\n"), ""))

        assert "실행 중" in next_view()
        assert client.get("/").text.count('<html lang="en"') == 1
        monkeypatch.setattr(run, "phases_of", lambda *_: ())  # something else to draw
        assert "실행 중" in next_view()
        assert '<html lang="en"' in client.get("/").text
    assert client.post(f"/runs/{name}/cancel").status == 303


@pytest.mark.parametrize("days", ["-1", "999999", "9" * 20])
def test_an_impossible_age_is_refused(client: Client, days: str) -> None:
    """No entry is older than the calendar goes back, or younger than none."""
    assert client.get(f"/cache?older_than_days={days}").status == 400
    assert client.post("/cache/clear", {"older_than_days": days}).status == 400
