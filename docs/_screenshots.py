"""Draws ``docs/images/run-<language>.svg``: a real run, as a terminal shows it.

    .venv/bin/python docs/_screenshots.py

The program is the real one, in a process of its own. The providers are played by the server that
ships for tests; every answer is half as long as it may be, which is what ``aigenflow plan``
expects. Ids, dates and seconds, which differ each time, are replaced or left out; the rest is what
was printed.
"""

from __future__ import annotations

import html
import json
import os
import re
import subprocess
import sys
import tempfile
from itertools import groupby
from pathlib import Path

from rich.cells import cell_len

from aigenflow.core.models import AgentType
from aigenflow.testing import WireServerProcess

IMAGES = Path(__file__).parent / "images"
COLUMNS = 84
CELL = 9.6
LINE = 22
MARGIN = 14
FONTS = "ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace"
TOPICS = {
    "en": ("Subscription meal kits for people with diabetes", "default"),
    "ko": ("당뇨 환자를 위한 식단 구독", "startup"),
}
ASSUMED = {"origin": "assumption", "note": "to be checked"}
DRIVERS = {
    "currency": "USD",
    "first_year": 2027,
    "years": 3,
    "revenue": [
        {
            "name": "Subscriptions",
            "unit": "customers",
            "price": {"value": 864, **ASSUMED},
            "volume": {"values": [900, 2600, 5200], **ASSUMED},
            "unit_cost": {"value": 492, **ASSUMED},
        }
    ],
    "costs": [{"name": "Kitchen", "amount": {"value": 456_000, **ASSUMED}}],
    "funding": [{"name": "Seed", "kind": "equity", "amount": {"value": 600_000, **ASSUMED}}],
}
SCRIPT = {
    "defaults": {"fill": 0.5},
    "rules": [
        {
            "match": {"contains": title},
            "action": {"text": f"```json\n{json.dumps(DRIVERS)}\n```", "fill": 0, "latency_s": 0.6},
        }
        for title in ("# Task: drivers of the financial model", "# 과제: 재무 모델의 가정")
    ]
    + [{"match": {"provider": "gemini"}, "action": {"fill": 0.5, "latency_s": 0.6}}],
}
_REPLACED = (
    (re.compile(r"\b\d{8}-\d{6}-[0-9a-f]{6}\b"), "20261122-101500-3f9a2c"),
    (re.compile(r"\d{4}-\d\d-\d\d \.\. \d{4}-\d\d-\d\d"), "2026-11-01 .. 2026-11-22"),
    (re.compile(r"(tokens|토큰), \d+\.\d ?(s|초)"), r"\1"),
)


def environment(home: Path, url: str, language: str) -> dict[str, str]:
    """That of a user with four keys, in a home of their own."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("AIGENFLOW_") and not name.endswith("_API_KEY")
    }
    addresses = {f"AIGENFLOW_AGENTS__{agent.name}__BASE_URL": url for agent in AgentType}
    return {
        **kept,
        **addresses,
        "AIGENFLOW_HOME": str(home),
        "AIGENFLOW_UI_LANG": language,
        "AIGENFLOW_BUDGET__TIMEZONE": "UTC",
        "COLUMNS": str(COLUMNS - 2),
        "LC_ALL": "C.UTF-8",
    }


def record(language: str, folder: Path, url: str) -> str:
    """What a terminal holds after a run, the same run once more, and a look at the books."""
    topic, template = TOPICS[language]
    environ = environment(folder / "home", url, language)
    shown = ""
    run = ("run", "--topic", topic, "--template", template)
    for arguments in (run, (*run, "--quiet"), ("stats",)):
        typed = " ".join(f'"{word}"' if " " in word else word for word in arguments)
        typed = typed.replace(" --template default", "")
        done = subprocess.run(  # noqa: S603 - our own program, with our own words
            [sys.executable, "-m", "aigenflow", *arguments],
            cwd=folder,
            env=environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=True,
        )
        shown += f"$ aigenflow {typed}\n{done.stdout}"
    for pattern, text in _REPLACED:
        shown = pattern.sub(text, shown)
    return shown


def draw(shown: str, language: str) -> str:
    """The terminal as SVG that loads nothing from elsewhere."""
    lines = shown.splitlines()
    width, height = round(COLUMNS * CELL + 2 * MARGIN), (len(lines) + 2) * LINE
    texts = "\n".join(
        _text(line, MARGIN, (number + 2) * LINE + MARGIN) for number, line in enumerate(lines)
    )
    return f"""<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img">
<title>aigenflow run ({language})</title>
<rect width="{width}" height="{height}" rx="8" fill="#1e2127"/>
<circle cx="22" cy="20" r="6" fill="#ff5f57"/><circle cx="42" cy="20" r="6" fill="#febc2e"/>
<circle cx="62" cy="20" r="6" fill="#28c840"/>
<g font-family="{FONTS}" font-size="16" fill="#d7dae0">
{texts}
</g>
</svg>
"""


def _text(line: str, x: float, y: float) -> str:
    """One line. Narrow and wide letters are placed in runs, so that columns stay in line."""
    style = "" if line.startswith((" ", "│", "╭", "╰")) else ' font-weight="bold"'
    if line.startswith("$ "):
        style += ' fill="#7ee787"'
    runs = []
    for wide, letters in groupby(line, key=lambda letter: cell_len(letter) > 1):
        run = "".join(letters)
        length = len(run) * (2 if wide else 1) * CELL
        if run.strip():
            size = ' font-size="18"' if wide else ""
            text = html.escape(run, quote=False).replace(" ", "\u00a0")
            runs.append(f'<tspan x="{x:.1f}" textLength="{length:.1f}"{size}>{text}</tspan>')
        x += length
    return f'<text y="{y}"{style}>{"".join(runs)}</text>'


def main() -> None:
    """Draw all of them."""
    IMAGES.mkdir(exist_ok=True)
    for language in TOPICS:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            with WireServerProcess(SCRIPT, state_dir=folder / "wire") as server:
                shown = record(language, folder, server.url)
        (IMAGES / f"run-{language}.svg").write_text(draw(shown, language), encoding="utf-8")


if __name__ == "__main__":
    main()
