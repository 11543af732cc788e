"""Published prices as genai-prices offers them for download, and a server that does."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

MODELS = {
    "anthropic": "claude-sonnet-5-5",
    "openai": "gpt-6.1-sol",
    "google": "gemini-3.8-flash",
    "perplexity": "perplexity/sonar",
}


def table(**prices: Any) -> bytes:
    """A table with one model per vendor at $1 in and $2 out; ``prices`` by vendor replace them."""
    return json.dumps(
        [
            {
                "id": vendor,
                "name": vendor.title(),
                "api_pattern": f"https://{vendor}\\.example",
                "pricing_urls": [f"https://{vendor}.example/pricing"],
                "models": [
                    {
                        "id": model,
                        "match": {"equals": model},
                        "prices": prices.get(vendor, {"input_mtok": 1, "output_mtok": 2}),
                    }
                ],
            }
            for vendor, model in MODELS.items()
        ]
    ).encode()


@contextmanager
def served(body: bytes, status: int = 200) -> Iterator[str]:
    """The address of a server on this machine that always answers this."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *message: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/data.json"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
