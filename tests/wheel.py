"""Install a built wheel into a clean environment and write a document with it.

Usage: python tests/wheel.py dist/aigenflow-….whl [--extras]

Prints the size of the wheel and of the environment, and how long a start takes. With ``--extras``
each extra is also installed, alone with the wheel, and imported (some minutes).
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
import venv
import zipfile
from email.parser import HeaderParser
from pathlib import Path

REQUIREMENTS = Path(__file__).parent.parent / "requirements"
NEEDED = (
    "aigenflow/locale/ko/LC_MESSAGES/messages.mo",
    "aigenflow/monitoring/pricing.yaml",
    "aigenflow/py.typed",
)
EXTRAS = {
    "docs": "matplotlib, pypandoc, typst",
    "encryption": "cryptography",
    "fleet": "dbos, psycopg",
    "hwpx": "hwpx",
    "keyring": "keyring",
    "otel": "opentelemetry.sdk, opentelemetry.exporter.otlp.proto.http",
    "postgres": "psycopg",
    "web": "starlette, uvicorn",
}
"""What each extra brings, as it is imported."""
STARTS = 5
COMPLETION = {
    "_AIGENFLOW_COMPLETE": "bash_complete",
    "COMP_WORDS": "aigenflow ca",
    "COMP_CWORD": "1",
}
OWN_PTH = {"distutils-precedence.pth"}
"""Comes with setuptools, not with anything of ours."""


def check_contents(wheel: Path) -> None:
    """Only the package, with its data, and every extra in its metadata."""
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        metadata = next(name for name in names if name.endswith(".dist-info/METADATA"))
        headers = HeaderParser().parsestr(archive.read(metadata).decode())
    foreign = [name for name in names if not name.startswith(("aigenflow/", "aigenflow-"))]
    assert not foreign, f"the wheel would litter site-packages: {foreign}"
    assert not [name for name in names if name.endswith((".pth", ".pyc"))]
    assert set(NEEDED) <= set(names), set(NEEDED) - set(names)
    extras = set(headers.get_all("Provides-Extra") or [])
    assert extras == set(EXTRAS), extras ^ set(EXTRAS)


def install(wheel: Path, place: Path) -> Path:
    """Install the locked dependencies and the wheel; return the folder of the programs."""
    venv.create(place / "venv", with_pip=True)
    program = place / "venv" / "bin"
    pip = [program / "python", "-m", "pip", "install", "--quiet"]
    subprocess.run([*pip, "--require-hashes", "-r", REQUIREMENTS / "run.txt"], check=True)
    subprocess.run([*pip, "--no-deps", wheel.resolve()], check=True)
    subprocess.run([program / "python", "-m", "pip", "check"], check=True)
    pth = {path.name for path in (place / "venv").rglob("*.pth")}
    assert pth <= OWN_PTH, f"runs at every start of Python: {pth - OWN_PTH}"
    return program


def use(program: Path, place: Path) -> float:
    """Write a document without a network, and return how long ``--version`` takes, in seconds."""
    environ = {
        **{name: value for name, value in os.environ.items() if not name.endswith("_API_KEY")},
        "AIGENFLOW_HOME": str(place / "home"),
        "AIGENFLOW_LOCAL__DISCOVER": "false",
    }

    def run(*arguments: str, **more: str) -> str:
        command = [program / "aigenflow", *arguments]
        done = subprocess.run(
            command, check=True, cwd=place, env=environ | more, stdout=subprocess.PIPE, text=True
        )
        return done.stdout

    run("--ui-lang", "ko", "run", "--topic", "당뇨 환자를 위한 식단 구독")
    assert list(place.glob("output/*/final/business_plan.md")), "no document"
    run("--ui-lang", "ko", "status")
    assert "cache" in run(**COMPLETION), "no completion in the shell"
    took = []
    for _start in range(STARTS):
        began = time.perf_counter()
        run("--version")
        took.append(time.perf_counter() - began)
    return min(took)


def size_mb(folder: Path) -> float:
    """All files below ``folder``, in megabytes of a million bytes."""
    files = (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return sum(path.stat().st_size for path in files) / 1e6


def try_extra(wheel: Path, extra: str, place: Path) -> None:
    """Install the wheel with one extra, in the versions of the lock, and import what it brings."""
    venv.create(place / "venv", with_pip=True)
    python = place / "venv" / "bin" / "python"
    pinned = place / "constraints.txt"
    lock = (REQUIREMENTS / "dev.txt").read_text().splitlines()
    names = [line.removesuffix("\\") for line in lock if line[:1].isalnum()]
    pinned.write_text("\n".join(names))  # without hashes, which pip would then want of the wheel
    wanted = f"{wheel.resolve()}[{extra}]"
    subprocess.run([python, "-m", "pip", "install", "--quiet", "-c", pinned, wanted], check=True)
    subprocess.run([python, "-c", f"import aigenflow, {EXTRAS[extra]}"], check=True)
    print(f"extra {extra}: imported; {size_mb(place / 'venv'):.0f} MB with it", flush=True)


def main(wheel: Path, *, extras: bool) -> None:
    check_contents(wheel)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        seconds = use(install(wheel, place), place)
        installed = size_mb(place / "venv")
    size_kb = wheel.stat().st_size // 1000
    print(f"{wheel.name}: {size_kb} KB; --version takes {seconds:.2f} s")
    print(f"installed and used: {installed:.0f} MB, pip and compiled files included", flush=True)
    for extra in sorted(EXTRAS) if extras else ():
        with tempfile.TemporaryDirectory() as folder:
            try_extra(wheel, extra, Path(folder))


if __name__ == "__main__":
    main(Path(sys.argv[1]), extras="--extras" in sys.argv[2:])
