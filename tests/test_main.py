"""The program as a whole: what it does to the process it runs in."""

from __future__ import annotations

import subprocess
import sys

GATEWAY = (
    "import asyncio, gc\n"
    "from aigenflow.gateway.adapters.openai import OpenAIGateway\n"
    "gateway = OpenAIGateway(api_key='k', base_url='http://127.0.0.1:9/v1')\n"
    "gateway.download('/files')\n"
    "asyncio.run(gateway.aclose())\n"
)
PROGRAM = (
    "import atexit, gc\n"
    "from aigenflow.main import main\n"
    "try: main(['--version'])\n"
    "except SystemExit: pass\n"
    "print(gc.get_threshold()[0] > 700, gc.get_freeze_count())\n"
    "atexit._run_exitfuncs()\n"
    "print(gc.get_freeze_count() > 1_000)\n"
)


def last_words(code: str) -> list[str]:
    """What ``code`` prints in a process of its own."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def test_the_program_spares_the_garbage_collector() -> None:
    """It collects seldom, and nothing at the end; until then everything can be collected."""
    *_version, threshold, at_exit = last_words(PROGRAM)
    assert threshold == "True 0"
    assert at_exit == "True"


def test_a_library_leaves_the_garbage_collector_alone() -> None:
    """Whoever imports a gateway, and with it a vendor's SDK, keeps their collector as it was."""
    code = f"{GATEWAY}import sys\nprint('openai' in sys.modules, gc.get_threshold(), "
    code += "gc.isenabled(), gc.get_freeze_count())"
    assert last_words(code) == ["True (700, 10, 10) True 0"]
