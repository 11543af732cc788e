from __future__ import annotations

import json
import unicodedata
from pathlib import Path

import pytest

from tests.support.program import Program, Wire

TOPIC = "Subscription meal kits for people with diabetes"


def run(program: Program, *more: str, **env: str) -> str:
    done = program("run", "--topic", TOPIC, *more, env=env)
    assert done.returncode == 0, done.stderr
    return program.document()


def entries(program: Program) -> list[Path]:
    return sorted(Path(program.environ["AIGENFLOW_HOME"]).glob("cache/entries/*.json"))


def stats(program: Program) -> dict[str, float]:
    value: dict[str, float] = json.loads(program("cache", "stats", "--json").stdout)
    return value


def test_the_same_run_again_makes_no_call(program: Program, wire: Wire) -> None:
    """Through all four SDKs: twelve answers bought once, and the same document twice."""
    first = run(program)
    assert len(wire.billed()) == 13
    assert len(entries(program)) == 13
    second = run(program)
    assert second == first
    assert len(wire.bill()) == 13, "the provider's own bill has no fourteenth request"
    counted = stats(program)
    assert (counted["hits"], counted["misses"], counted["total_entries"]) == (13, 13, 13)
    assert {task["served_from"] for task in program.metadata()["tasks"]} == {"cache"}


def test_a_changed_phase_4_prompt_buys_phases_4_and_5_only(quick: Program, wire: Wire) -> None:
    """What did not hear the change is not bought again."""
    run(quick)
    wire.reset()
    prompts = Path(quick.environ["AIGENFLOW_HOME"]) / "templates" / "prompts" / "bizplan"
    prompts.mkdir(parents=True)
    for task in ("draft", "charts", "executive_summary"):
        (prompts / f"{task}.en.md.j2").write_text(
            "{% extends '_base.en.md.j2' %}{% block prompt %}Anew: {{ topic }}{% endblock %}"
        )
    run(quick)
    assert len(wire.billed()) == 6


def test_an_expired_answer_is_bought_again_and_replaced(quick: Program, wire: Wire) -> None:
    """After the time to live, the same key holds a new answer."""
    run(quick)
    before = {path.name: path.stat().st_mtime_ns for path in entries(quick)}
    wire.reset()
    run(quick, AIGENFLOW_CACHE__TTL_HOURS="0.00001")
    assert len(wire.billed()) == 13
    after = {path.name: path.stat().st_mtime_ns for path in entries(quick)}
    assert set(after) == set(before)
    assert all(after[name] > before[name] for name in before)


def test_the_time_to_live_can_differ_by_phase(quick: Program, wire: Wire) -> None:
    """Research ages faster than framing; the rest of a run hears the new research."""
    run(quick)
    wire.reset()
    run(quick, AIGENFLOW_CACHE__TTL_HOURS_BY_PHASE='{"2": 0.00001}')
    assert len(wire.billed()) == 2, "equal answers give equal questions: later phases still hit"


@pytest.mark.parametrize("how", ["flag", "config"])
def test_caching_can_be_switched_off_and_the_document_is_the_same(
    quick: Program, wire: Wire, how: str
) -> None:
    """By flag or by setting, at once; nothing is stored and nothing is looked up."""
    if how == "config":
        assert quick("config", "set", "caching_enabled", "false").returncode == 0
    first = run(quick, *(["--no-cache"] if how == "flag" else []))
    second = run(quick, *(["--no-cache"] if how == "flag" else []))
    assert len(wire.billed()) == 26
    assert entries(quick) == []
    assert first == second
    quick("config", "set", "caching_enabled", "true")
    assert run(quick) == first


def test_refresh_buys_anew_and_remembers_the_new_answer(quick: Program, wire: Wire) -> None:
    """The next run without it is answered by what --refresh bought."""
    run(quick)
    wire.script(rules=[{"match": {}, "action": {"text": "A newer answer."}}])
    wire_before = len(wire.billed())
    newer = run(quick, "--refresh")
    assert len(wire.billed()) == wire_before + 14, "such drivers are asked for once more"
    assert "A newer answer." in newer
    wire.script()
    assert run(quick) == newer
    assert len(wire.billed()) == wire_before + 14


@pytest.mark.parametrize("finish", ["refusal", "length"])
def test_what_is_not_a_whole_answer_is_never_remembered(
    quick: Program, wire: Wire, finish: str
) -> None:
    """A refusal or a cut answer is asked for again the next time."""
    wire.script(rules=[{"match": {}, "action": {"finish": finish, "text": "Only a part"}}])
    assert quick("ask", "Hello there").returncode == 4
    assert entries(quick) == []
    wire.script()
    assert quick("ask", "Hello there").returncode == 0


def test_a_prompt_that_differs_in_case_or_spacing_is_the_same_question(
    quick: Program, wire: Wire
) -> None:
    """That is the specification; anything else is another question; normalize: none ends it."""
    for prompt in ("What is a USP?", "  what IS\na   usp? "):
        assert quick("ask", prompt).returncode == 0
    assert len(wire.billed()) == 1
    quick("ask", "What is a UPS?")
    quick("ask", "What is a USP?", "--agent", "chatgpt")
    quick("ask", "What is a USP?", "--system", "Be brief.")
    quick("ask", "What is a USP?", "--max-output-tokens", "99")
    quick("ask", "What is a USP?", env={"AIGENFLOW_AGENTS__CLAUDE__MODEL": "another-model"})
    assert len(wire.billed()) == 6
    apart = {"AIGENFLOW_CACHE__NORMALIZE": "none"}
    quick("ask", "What is a USP?", env=apart)
    quick("ask", "what is a usp?", env=apart)
    assert len(wire.billed()) == 8


def test_two_runs_at_once_buy_every_answer_once(quick: Program, wire: Wire) -> None:
    """One process asks, the other waits for the answer."""
    wire.script(defaults={"latency_s": 0.3})
    both = [quick.start("run", "--topic", TOPIC) for _n in range(2)]
    for process in both:
        _out, errors = process.communicate(timeout=90)
        assert process.returncode == 0, errors
    assert len(wire.billed()) == 13


def test_a_damaged_entry_is_set_aside_and_bought_again(quick: Program, wire: Wire) -> None:
    """Damage is a miss, never a wrong answer and never an error."""
    assert quick("ask", "Hello there").returncode == 0
    answer = quick("ask", "Hello there").stdout
    (entry,) = entries(quick)
    entry.write_bytes(entry.read_bytes().replace(b"Answer", b"Anzwer"))
    again = quick("ask", "Hello there")
    assert again.returncode == 0
    assert again.stdout == answer
    assert len(wire.billed()) == 2
    assert quick("cache", "doctor").returncode == 0


def test_a_cache_that_cannot_be_used_steps_aside(quick: Program, wire: Wire) -> None:
    """One warning, and the run goes on."""
    home = Path(quick.environ["AIGENFLOW_HOME"])
    home.mkdir()
    (home / "cache").write_text("not a folder")
    done = quick("run", "--topic", TOPIC)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("Note: ") == 1
    assert len(wire.billed()) == 13


@pytest.mark.parametrize("url", ["sqlite:///{home}/answers.db", "file:{home}/elsewhere"])
def test_another_store_does_the_same(quick: Program, wire: Wire, url: str) -> None:
    """The store is chosen by its address."""
    where = url.format(home=quick.environ["AIGENFLOW_HOME"])
    for _run in range(2):
        run(quick, AIGENFLOW_CACHE__URL=where)
    assert len(wire.billed()) == 13
    assert entries(quick) == []


@pytest.mark.parametrize("option", ["COMPRESSION", "ENCRYPTION"])
def test_entries_can_be_compressed_or_encrypted(quick: Program, wire: Wire, option: str) -> None:
    """The answer does not stand in the file as it is, and is found again all the same."""
    env = {f"AIGENFLOW_CACHE__{option}": "true"}
    first = quick("ask", "Hello there", env=env).stdout
    (entry,) = entries(quick)
    assert b"The question is taken" not in entry.read_bytes()
    assert entry.stat().st_mode & 0o077 == 0
    assert quick("ask", "Hello there", env=env).stdout == first
    assert len(wire.billed()) == 1


def test_the_commands_show_and_tend_the_cache(program: Program, wire: Wire) -> None:
    """stats, list, show, why, invalidate, clear: what a user types to see what is kept."""
    run(program)
    panel = program("cache", "stats").stdout
    for label in ("Total Entries", "Cache Size", "Hit Rate", "Miss Rate", "Evictions"):
        assert label in panel
    assert "Avg Hit Latency" in panel

    rows = json.loads(program("cache", "list", "--provider", "claude", "--json").stdout)
    assert {row["actor"] for row in rows} == {"claude"}
    assert len(rows) == 5
    plain = program("cache", "list", "--provider", "claude", "--limit", "2").stdout
    assert len(plain.splitlines()) == 2
    phase2 = json.loads(program("cache", "list", "--phase", "2", "--json").stdout)
    assert {row["task"] for row in phase2} == {"deep_search", "fact_check"}

    key = rows[0]["key"]
    shown = program("cache", "show", key)
    assert "Answer" in shown.stdout
    assert "Nearest entry" in program("cache", "why", key).stdout
    assert program("cache", "invalidate", key).returncode == 0
    assert program("cache", "show", key).returncode == 2
    assert "--yes" in program("cache", "clear").stderr
    assert "4 entries removed" in program("cache", "clear", "--provider", "claude", "-y").stdout
    assert "8 entries removed" in program("cache", "clear", "--yes").stdout
    assert entries(program) == []


def test_why_names_what_differs_from_the_nearest_entry(quick: Program) -> None:
    """A miss that the user did not expect is explained."""
    quick("ask", "What is a USP?")
    same = quick("cache", "why", "--prompt", "What is a USP?")
    assert "a hit" in same.stdout
    other = quick("cache", "why", "--prompt", "What is a USP?", "--system", "Be brief.")
    assert "a miss" in other.stdout
    assert "request.system" in other.stdout


def test_an_answer_that_came_in_pieces_is_remembered_whole(quick: Program, wire: Wire) -> None:
    """A cut answer that was gone on with costs two calls once, and none the next time."""
    wire.script(rules=[{"match": {"nth": 1}, "action": {"finish": "length", "text": "One and "}}])
    first = quick("ask", "Count for me").stdout
    assert first.startswith("One and ")
    assert len(wire.billed()) == 2
    assert quick("ask", "Count for me").stdout == first
    assert len(wire.billed()) == 2


def test_a_full_cache_lets_go_of_what_was_not_used_for_longest(quick: Program, wire: Wire) -> None:
    """With room for three and a half answers, the fourth costs the one that nobody asked for."""
    questions = ("What is a USP?", "What is a UPS?", "What is a USB?", "What is a URL?")
    quick("ask", questions[0])
    (entry,) = entries(quick)
    room = {"AIGENFLOW_CACHE__MAX_SIZE_MB": str(3.5 * entry.stat().st_size / 2**20)}
    for question in (questions[1], questions[2], questions[0], questions[3]):
        quick("ask", question, env=room)
    assert len(wire.billed()) == 4
    assert len(entries(quick)) == 3
    assert stats(quick)["evictions"] == 1
    quick("ask", questions[0], env=room)
    assert len(wire.billed()) == 4
    quick("ask", questions[1], env=room)
    assert len(wire.billed()) == 5


def test_clear_takes_only_what_it_is_asked_to(quick: Program) -> None:
    """By phase, age, session and expiry; what does not fit stays."""
    run(quick)
    session = quick.session().name
    old = {"AIGENFLOW_CACHE__TTL_HOURS_BY_PHASE": '{"3": 0.0000001}'}

    def cleared(*options: str) -> int:
        done = quick("cache", "clear", "--yes", *options, env=old)
        assert done.returncode == 0, done.stderr
        return int(done.stdout.split()[0])

    assert cleared("--older-than", "1h") == 0
    assert cleared("--session", "another-session") == 0
    assert cleared("--phase", "2") == 2
    assert cleared("--expired") == 3
    assert cleared("--session", session) == 8
    assert entries(quick) == []


def test_a_question_to_another_service_is_another_question(quick: Program, wire: Wire) -> None:
    """Its address, the agent's options and a search can all change the answer."""
    quick("ask", "What is a USP?")
    address = quick.environ["AIGENFLOW_AGENTS__CLAUDE__BASE_URL"]
    other = address.replace("127.0.0.1", "localhost")
    quick("ask", "What is a USP?", env={"AIGENFLOW_AGENTS__CLAUDE__BASE_URL": other})
    quick("ask", "What is a USP?", env={"AIGENFLOW_AGENTS__CLAUDE__OPTIONS": '{"seed": 7}'})
    quick("ask", "What is a USP?", "--web-search")
    assert len(wire.billed()) == 4


def test_two_spellings_of_the_same_hangul_are_one_question(quick: Program, wire: Wire) -> None:
    """A keyboard composes syllables, a file name on a Mac is decomposed."""
    for form in ("NFC", "NFD"):
        assert quick("ask", unicodedata.normalize(form, "사업 계획이란?")).returncode == 0
    assert len(wire.billed()) == 1
