"""The pages show what the program knows, and nothing in them runs."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from aigenflow.core.config import Settings
from aigenflow.core.models import DocumentType, Language, TokenUsage
from aigenflow.dashboard.pages import runs
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
