"""Makes ``src/aigenflow/export/assets/reference.docx``: pandoc's own, in our styles.

.venv/bin/python -m tests.export.make_reference
"""

from __future__ import annotations

import io
import subprocess
import zipfile
from pathlib import Path

import pypandoc
from docx import Document
from docx.document import Document as DocumentType
from docx.enum.section import WD_ORIENT
from docx.enum.text import WD_ALIGN_PARAGRAPH
from docx.oxml import parse_xml
from docx.oxml.ns import nsdecls, qn
from docx.shared import Mm, Pt, RGBColor
from docx.styles.style import ParagraphStyle

import aigenflow.export

TARGET = Path(aigenflow.export.__file__).parent / "assets" / "reference.docx"
LATIN, KOREAN, MONO = "Calibri", "Malgun Gothic", "Consolas"
ACCENT, SOFT, INK = RGBColor(0x1F, 0x4E, 0x8C), RGBColor(0x5B, 0x66, 0x75), RGBColor(0, 0, 0)
LINE = "B8BEC7"

# name: size in points, space before, space after, color, bold
PARAGRAPHS = {
    "Title": (24, 0, 18, INK, True),
    "Heading 1": (16, 24, 8, ACCENT, True),
    "Heading 2": (13, 18, 6, INK, True),
    "Heading 3": (11.5, 14, 4, INK, True),
    "Heading 4": (10.5, 12, 4, INK, True),
    "Heading 5": (10.5, 10, 4, SOFT, True),
    "Heading 6": (10.5, 10, 4, SOFT, False),
    "Body Text": (10.5, 4, 5, INK, False),
    "First Paragraph": (10.5, 4, 5, INK, False),
    "Compact": (10.5, 1, 2, INK, False),
    "Block Text": (10.5, 4, 8, SOFT, False),
    "Footnote Text": (9, 0, 2, INK, False),
    "Image Caption": (9.5, 2, 12, SOFT, False),
    "Captioned Figure": (10.5, 8, 2, INK, False),
}
KEPT_WITH_NEXT = {"Title", *(f"Heading {n}" for n in range(1, 7)), "Captioned Figure"}

TABLE_STYLE = f"""
<w:style {nsdecls("w")} w:type="table" w:default="1" w:styleId="Table">
  <w:name w:val="Table"/><w:semiHidden/><w:unhideWhenUsed/><w:qFormat/>
  <w:pPr><w:spacing w:before="20" w:after="20" w:line="250" w:lineRule="auto"/></w:pPr>
  <w:rPr><w:sz w:val="18"/><w:szCs w:val="18"/></w:rPr>
  <w:tblPr>
    <w:tblInd w:w="0" w:type="dxa"/>
    <w:tblBorders>
      {
    "".join(
        f'<w:{side} w:val="single" w:sz="4" w:space="0" w:color="{LINE}"/>'
        for side in ("top", "left", "bottom", "right", "insideH", "insideV")
    )
}
    </w:tblBorders>
    <w:tblCellMar>
      <w:top w:w="40" w:type="dxa"/><w:left w:w="90" w:type="dxa"/>
      <w:bottom w:w="40" w:type="dxa"/><w:right w:w="90" w:type="dxa"/>
    </w:tblCellMar>
  </w:tblPr>
  <w:trPr><w:cantSplit/></w:trPr>
  <w:tblStylePr w:type="firstRow">
    <w:rPr><w:b/></w:rPr>
    <w:tcPr><w:shd w:val="clear" w:color="auto" w:fill="E9EEF5"/><w:vAlign w:val="bottom"/></w:tcPr>
  </w:tblStylePr>
</w:style>
"""
CAPTION_STYLE = f"""
<w:style {nsdecls("w")} w:type="paragraph" w:customStyle="1" w:styleId="TableCaption">
  <w:name w:val="Table Caption"/><w:basedOn w:val="BodyText"/><w:qFormat/>
  <w:pPr><w:keepNext/><w:spacing w:before="120" w:after="60"/></w:pPr>
</w:style>
"""


def make() -> bytes:
    """The reference document."""
    pandoc = pypandoc.get_pandoc_path()
    shipped = subprocess.run(
        [pandoc, "--print-default-data-file", "reference.docx"], capture_output=True, check=True
    ).stdout
    document = Document(io.BytesIO(shipped))
    _set_styles(document)
    _set_page(document)
    out = io.BytesIO()
    document.save(out)
    return _with_fixed_times(out.getvalue())


def _set_styles(document: DocumentType) -> None:
    styles = document.styles
    for style in styles:
        fonts = style.element.find(f".//{qn('w:rFonts')}")
        if fonts is not None:
            fonts.attrib.clear()
            _name_fonts(fonts, MONO if style.name == "Verbatim Char" else LATIN)
    defaults = styles.element.find(f".//{qn('w:rPrDefault')}//{qn('w:rFonts')}")
    defaults.attrib.clear()
    _name_fonts(defaults, LATIN)
    for size in ("sz", "szCs"):
        defaults.getparent().find(qn(f"w:{size}")).set(qn("w:val"), "21")
    for name, (size, before, after, color, bold) in PARAGRAPHS.items():
        style = styles[name]
        assert isinstance(style, ParagraphStyle)
        # What "Compact" leaves open, a table's style decides for its cells.
        style.font.size = None if name == "Compact" else Pt(size)
        style.font.color.rgb, style.font.bold, style.font.italic = color, bold or None, False
        form = style.paragraph_format
        form.space_before, form.space_after, form.line_spacing = Pt(before), Pt(after), 1.25
        form.keep_with_next = name in KEPT_WITH_NEXT
        form.alignment = WD_ALIGN_PARAGRAPH.LEFT
    for name in ("Image Caption", "Captioned Figure"):
        styles[name].paragraph_format.alignment = WD_ALIGN_PARAGRAPH.CENTER
    styles["Hyperlink"].font.color.rgb = ACCENT
    for style_id, xml in (("Table", TABLE_STYLE), ("TableCaption", CAPTION_STYLE)):
        for old in styles.element.findall(qn("w:style")):
            if old.get(qn("w:styleId")) == style_id:
                styles.element.remove(old)
        styles.element.append(parse_xml(xml))


def _name_fonts(fonts: object, latin: str) -> None:
    for kind, name in (("ascii", latin), ("hAnsi", latin), ("cs", latin), ("eastAsia", KOREAN)):
        fonts.set(qn(f"w:{kind}"), name)  # type: ignore[attr-defined]


def _set_page(document: DocumentType) -> None:
    section = document.sections[0]
    section.orientation = WD_ORIENT.PORTRAIT
    section.page_width, section.page_height = Mm(210), Mm(297)
    section.left_margin = section.right_margin = Mm(22)
    section.top_margin, section.bottom_margin = Mm(25), Mm(22)
    footer = section.footer.paragraphs[0]
    footer.alignment = WD_ALIGN_PARAGRAPH.CENTER
    for kind in ("PAGE", " / ", "NUMPAGES"):
        if kind == " / ":
            footer.add_run(kind)
            continue
        footer._p.append(
            parse_xml(
                f'<w:fldSimple {nsdecls("w")} w:instr="{kind}">'
                "<w:r><w:t>1</w:t></w:r></w:fldSimple>"
            )
        )


def _with_fixed_times(data: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(out, "w") as new:
        for item in old.infolist():
            info = zipfile.ZipInfo(item.filename, (1980, 1, 1, 0, 0, 0))
            new.writestr(info, old.read(item), zipfile.ZIP_DEFLATED)
    return out.getvalue()


if __name__ == "__main__":
    TARGET.write_bytes(make())
