"""What the program writes is for its owner only, whatever the umask."""

from __future__ import annotations

import stat
import subprocess
from pathlib import Path

from tests.support.program import Program, Wire, clean_environment, through_one_sdk

COMMANDS = """\
umask 000
run() { "$PYTHON" -m aigenflow "$@" >/dev/null || exit 1; }
run run --topic "Subscription meal kits" --format html,docx
session=$(ls output)
run export "$session" --format pdf
run claims "$session"
run config set ttl_hours 5
run templates copy default
run cache stats
run stats
run run --topics topics.txt
"""
KINDS = (
    "home/cache/entries/*.json",
    "home/cache/stats.json",
    "home/ledger.db",
    "home/config.yaml",
    "home/templates/outlines/*.yaml",
    "work/output/*/pipeline_state.json",
    "work/output/*/phase*/*.md",
    "work/output/*/final/business_plan.pdf",
    "work/output/*/metadata.json",
)


def test_nobody_else_can_read_or_write_anything(tmp_path: Path, wire: Wire) -> None:
    """No file and no folder has a bit for group or others, although the umask would allow all."""
    work = tmp_path / "work"
    work.mkdir()
    (work / "topics.txt").write_text("Tea shops in small towns\nBicycle repair by subscription\n")
    given = set(tmp_path.rglob("*"))
    environ = clean_environment(tmp_path / "home") | through_one_sdk(wire.url)
    python = Program._command(())[0]
    done = subprocess.run(
        ["bash", "-c", COMMANDS],
        cwd=work,
        env={**environ, "PYTHON": python},
        capture_output=True,
        text=True,
        timeout=110,
    )
    assert done.returncode == 0, done.stderr
    for pattern in KINDS:
        assert any(tmp_path.glob(pattern)), pattern
    written = set(tmp_path.rglob("*")) - given
    open_to_others = [
        f"{stat.filemode(path.lstat().st_mode)} {path}"
        for path in sorted(written)
        if path.lstat().st_mode & 0o077
    ]
    assert open_to_others == []
    for folder in work.glob("output/*/"):
        assert (folder / ".gitignore").read_text() == "*\n"
