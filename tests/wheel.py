"""Install a built wheel into a clean environment and write a document with it.

Usage: python tests/wheel.py dist/aigenflow-….whl
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import venv
import zipfile
from pathlib import Path

LOCK = Path(__file__).parent.parent / "requirements" / "run.txt"


def main(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    foreign = [name for name in names if not name.startswith(("aigenflow/", "aigenflow-"))]
    assert not foreign, f"the wheel would litter site-packages: {foreign}"
    assert "aigenflow/locale/ko/LC_MESSAGES/messages.mo" in names, "no Korean messages"
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        venv.create(place / "venv", with_pip=True)
        program = place / "venv" / "bin"
        pip = [program / "python", "-m", "pip", "install", "--quiet"]
        subprocess.run([*pip, "--require-hashes", "-r", LOCK], check=True)
        subprocess.run([*pip, "--no-deps", wheel.resolve()], check=True)
        environ = {
            **{name: value for name, value in os.environ.items() if not name.endswith("_API_KEY")},
            "AIGENFLOW_HOME": str(place / "home"),
            "AIGENFLOW_LOCAL__DISCOVER": "false",
        }
        for arguments in (
            ["--version"],
            ["run", "--topic", "당뇨 환자를 위한 식단 구독"],
            ["status"],
        ):
            command = [program / "aigenflow", "--ui-lang", "ko", *arguments]
            subprocess.run(command, check=True, cwd=place, env=environ)
        pth = sorted(p.name for p in (place / "venv").rglob("*.pth"))
        assert pth == ["distutils-precedence.pth"] or not pth, f"runs at every start: {pth}"
        assert list(place.glob("output/*/final/business_plan.md")), "no document"
    print(f"{wheel.name}: {wheel.stat().st_size // 1024} KB, installed and used")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
