"""What the site needs beyond its plugins: docstrings are written for readers of the source.

They name code in Sphinx's way (a role), announce a block with two colons, and draw trees.
"""

from __future__ import annotations

import re

_ROLE = re.compile(r":(?:class|func|meth|data|mod):<code>~?([\w.]+)</code>")
_TREE = re.compile(r"<p>([^<]*├── [^<]*)</p>")


def on_page_content(html: str, **_context: object) -> str:
    """Show roles as the last part of their name, linked where the page describes it; keep trees."""

    def plain(role: re.Match[str]) -> str:
        name = role[1]
        code = f"<code>{name.rpartition('.')[2]}</code>"
        return f'<a href="#{name}">{code}</a>' if f'id="{name}"' in html else code

    html = _TREE.sub(r"<pre><code>\1</code></pre>", _ROLE.sub(plain, html))
    return html.replace("::</p>", ":</p>")
