"""One HTML page that needs nothing but a browser: data and script inside, nothing fetched."""

from __future__ import annotations

import json
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

from betascvi._written_whole import file_written_whole

_TEMPLATE = Path(__file__).with_name("_page.html")


def write_page(data: Mapping[str, Any], training: str, out: Path) -> None:
    """Fill the template and write it, whole or not at all.

    ``training`` is an SVG; everything in ``data`` is shown as text, never as markup.
    """
    as_json = json.dumps(data, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    parts = {
        "title": escape(str(data["title"])),
        "training": training,
        # last, so that nothing in it is taken for a place to fill
        "data": as_json.replace("<", "\\u003c"),  # no gene or label can end the script
    }
    page = _TEMPLATE.read_text(encoding="utf-8")
    for name, text in parts.items():
        page = page.replace(f"{{{{{name}}}}}", text)
    with file_written_whole(out) as draft:
        draft.write_text(page, encoding="utf-8")
