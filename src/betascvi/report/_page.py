"""One HTML page that needs nothing but a browser: data and script inside, nothing fetched."""

from __future__ import annotations

import json
import re
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
        "data": as_json.replace("<", "\\u003c"),  # no gene or label can end the script
    }
    # in one pass, so that nothing that was filled in is taken for a place to fill
    page = re.sub(
        r"\{\{(\w+)\}\}", lambda place: parts[place[1]], _TEMPLATE.read_text(encoding="utf-8")
    )
    with file_written_whole(out) as draft:
        draft.write_text(page, encoding="utf-8")
