"""The program speaks Korean to who asks for it, on any terminal, and English to all others."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from unicodedata import east_asian_width

import pytest

from tests.support.program import Program

TOPIC = "반려동물을 위한 방문 건강검진 서비스"
NO_LOCALE: Mapping[str, str] = {"LC_ALL": "", "LC_MESSAGES": "", "LANG": ""}
ASCII: Mapping[str, str] = {"LC_ALL": "C", "PYTHONUTF8": "0"}


@pytest.fixture
def korean(offline: Program) -> Program:
    """The program without keys, under a Korean locale that the machine need not have."""
    offline.environ["LC_ALL"] = "ko_KR.UTF-8"
    return offline


def _bytes_of(program: Program, *arguments: str, env: Mapping[str, str]) -> bytes:
    """Everything printed, undecoded; the command must succeed."""
    ended = subprocess.run(
        program._command(arguments),
        cwd=program.folder,
        env={**program.environ, **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=90,
    )
    assert ended.returncode == 0, ended.stdout
    return ended.stdout


def test_help_is_korean(offline: Program) -> None:
    """Our words and those of the command-line library; commands and options stay as typed."""
    page = offline("--ui-lang", "ko", "--help").stdout
    assert page.startswith("사용법: aigenflow [OPTIONS] COMMAND [ARGS]...\n")
    for part in ("\n옵션:\n", "\n명령:\n", "--help", "이 도움말을 출력하고 끝냅니다.", "  run "):
        assert part in page
    for english in ("Usage", "Options", "Commands", "Show"):
        assert english not in page


def test_korean_help_fits_the_terminal(offline: Program) -> None:
    """A Korean character is two cells wide: the lines of a page end where they should."""
    page = offline("--ui-lang", "ko", "run", "--help").stdout
    cells = [
        sum(2 if east_asian_width(character) in "WF" else 1 for character in line)
        for line in page.splitlines()
    ]
    assert 60 < max(cells) <= 80


@pytest.mark.parametrize(
    ("arguments", "exit_code", "said"),
    [
        (["run"], 2, "오류: --topic과 --topics 중 하나만 지정하세요."),
        (["run", "--topc", "x"], 2, "오류: '--topc' 옵션이 없습니다. 혹시 '--topic'"),
        (["rnu"], 2, "오류: 'rnu' 명령이 없습니다."),
        (["plan"], 2, "오류: --topic과 --topics 중 하나만 지정하세요."),
        (["submit"], 2, "오류: 다음 옵션이 필요합니다: '--topics'."),
        (["batch", "status", "none"], 2, "오류: none 배치 작업이 없습니다."),
        (["fleet", "status"], 2, "오류: 플릿의 데이터베이스가 지정되지 않았습니다."),
        (["run", "--topic", TOPIC, "--type", "x"], 2, "오류: '--type'의 값이 잘못되었습니다: 'x'"),
        (["run", "--topic", TOPIC, "--brief", "x"], 2, "파일 'x'이(가) 없습니다."),
        (["run", "--topic", "짧음"], 2, "오류: 주제가 2자입니다. 6자 이상이어야 합니다."),
        (["config", "set", "daily_us", "1"], 2, "힌트: 혹시 budget.daily_usd인가요?"),
        (["resume", "nothing"], 6, "오류: output에 nothing 세션이 없습니다."),
    ],
)
def test_errors_are_korean(
    offline: Program, arguments: list[str], exit_code: int, said: str
) -> None:
    """What went wrong and what to try next; the exit code knows no language."""
    ended = offline("--ui-lang", "ko", *arguments)
    assert said in ended.stderr
    assert ended.returncode == exit_code


def test_a_run_is_told_in_korean(korean: Program) -> None:
    """Progress, result, and what other commands say of it afterwards."""
    run = korean("run", "--topic", TOPIC)
    assert run.returncode == 0, run.stderr
    for said in (
        f": {TOPIC}\n",
        "전체 5단계 중 1단계: 구상\n",
        "전체 5단계 중 5단계: 검토\n",
        "AI가 쓴 글이 아닙니다.",
    ):
        assert said in run.stderr
    assert run.stdout.startswith("문서: output/")
    heading, session = korean("status").stdout.splitlines()
    assert heading.split() == ["세션", "상태", "단계", "주제"]
    assert session.split()[1:3] == ["완료", "5/5"]
    for command, words in (
        (("cache", "stats"), ("캐시 통계", "전체 항목", "적중률", "평균 적중 응답 시간")),
        (("stats",), ("토큰 사용량 요약", "공급자", "합계", "설정된 예산이 없습니다.")),
        (("stats",), ("기간: 이번 달",)),
        (("plan", "--topic", TOPIC), ("입력 토큰", "오프라인 초안")),
        (("quality", korean.session().name), ("문서 품질", "점수: 100점 만점에", "근거:")),
        (("claims", korean.session().name), ("검증 결과", "출처 불명", "주장 ")),
        (("batch", "list"), ("열려 있는 배치 작업이 없습니다.",)),
        (("templates", "list"), ("템플릿", "쪽수", "제한 없음")),
    ):
        told = korean(*command).stdout
        assert [word for word in words if word not in told] == []


def test_a_korean_question_is_answered_in_korean(offline: Program) -> None:
    """The language of an answer is that of the question, whatever language messages have."""
    assert offline("ask", "구독 가격은 얼마인가?").stdout.startswith("# 연결된 AI 모델이 없습니다")
    assert offline("--ui-lang", "ko", "ask", "How much?").stdout.startswith("# No AI model")


def test_what_programs_read_is_not_translated(korean: Program) -> None:
    """Settings and JSON are the same in both languages."""
    for command in (("config", "show"), ("cache", "stats", "--json")):
        told = korean(*command)
        assert told.returncode == 0
        assert told.stdout == korean("--ui-lang", "en", *command).stdout


@pytest.mark.parametrize(
    ("environ", "first_word"),
    [
        ({}, "Usage:"),
        ({"LANG": "en_US.UTF-8"}, "Usage:"),
        ({"LC_ALL": "tr_TR.UTF-8"}, "Usage:"),
        ({"LC_ALL": "ko_KR.UTF-8", "AIGENFLOW_UI_LANG": "en"}, "Usage:"),
        ({"LANG": "ko_KR.UTF-8"}, "사용법:"),
        ({"LANG": "ko_KR.UTF-8", "LANGUAGE": "en"}, "사용법:"),
        ({"LC_MESSAGES": "ko_KR.UTF-8", "LANG": "en_US.UTF-8"}, "사용법:"),
        ({"LC_ALL": "ko_KR.EUC-KR"}, "사용법:"),
        ({"LC_ALL": "C.UTF-8", "AIGENFLOW_UI_LANG": "ko"}, "사용법:"),
    ],
)
def test_the_environment_chooses_the_language(
    offline: Program, environ: dict[str, str], first_word: str
) -> None:
    """A Korean locale or ``AIGENFLOW_UI_LANG=ko``: Korean; anything else: English."""
    page = offline("--help", env={**NO_LOCALE, **environ}).stdout
    assert page.split()[0] == first_word


@pytest.mark.parametrize(
    ("environ", "encoding"),
    [
        (ASCII, "utf-8"),
        ({"LC_ALL": "C", "PYTHONUTF8": "1"}, "utf-8"),
        ({"LC_ALL": "tr_TR.UTF-8"}, "utf-8"),
        ({"PYTHONIOENCODING": "cp949"}, "cp949"),
        ({"PYTHONIOENCODING": "latin-1"}, "unicode_escape"),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value.values()),
)
def test_korean_can_be_printed_anywhere(
    offline: Program, environ: Mapping[str, str], encoding: str
) -> None:
    """In the terminal's encoding; where that is ASCII in UTF-8; where it has no Hangul escaped."""
    for command, word in (
        (("--help",), "사용법:"),
        (("cache", "stats"), "캐시 통계"),
    ):
        printed = _bytes_of(offline, "--ui-lang", "ko", *command, env=environ)
        assert word in printed.decode(encoding)


@pytest.mark.parametrize(
    "environ", [ASCII, {"PYTHONIOENCODING": "cp949", "PYTHONUTF8": "0"}], ids=["ascii", "cp949"]
)
def test_files_are_utf_8_whatever_the_terminal_speaks(
    offline: Program, environ: Mapping[str, str]
) -> None:
    """A run reads and writes Korean files, and its JSON is right, on a terminal that is not."""
    (offline.folder / "topics.txt").write_text(TOPIC + "\n", encoding="utf-8")
    printed = _bytes_of(offline, "run", "--topics", "topics.txt", "--json", env=environ)
    encoding = environ.get("PYTHONIOENCODING", "utf-8")
    (told,) = json.loads(printed.decode(encoding))
    assert told["topic"] == TOPIC
    assert TOPIC in offline.document()


def test_a_topic_that_the_terminal_broke_is_refused(offline: Program) -> None:
    """Letters that arrive as bytes outside the locale's encoding are an error with a way out."""
    ended = offline("--ui-lang", "ko", "run", "--topic", TOPIC, env=ASCII)
    assert ended.returncode == 2
    assert "오류: 주제에 올바른 유니코드가 아닌 문자가 있습니다." in ended.stderr
    assert "힌트: 다시 입력하거나 터미널의 인코딩(UTF-8)을 확인하세요." in ended.stderr
