"""What the site needs beyond its plugins: docstrings name code in Sphinx's way, ``:class:`X` ``."""

from __future__ import annotations

import re

_ROLE = re.compile(r":(?:class|func|meth|data|mod):<code>~?([\w.]+)</code>")


def on_page_content(html: str, **_context: object) -> str:
    """Show a role as the last part of its name, linked where the page describes it."""

    def plain(role: re.Match[str]) -> str:
        name = role[1]
        code = f"<code>{name.rpartition('.')[2]}</code>"
        return f'<a href="#{name}">{code}</a>' if f'id="{name}"' in html else code

    return _ROLE.sub(plain, html)
