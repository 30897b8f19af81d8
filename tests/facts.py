"""The table of variants that the zoo is held to, ``data/variants.json``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def rows() -> list[dict[str, Any]]:
    """All rows of tier 1, and those of tier 2 that exist; what is also deployed has a row for each of its forms."""
    from convzoo import is_model

    table = json.loads((Path(__file__).parent / "data" / "variants.json").read_text(encoding="utf-8"))
    return [row for row in table if row["tier"] == 1 or is_model(row["zoo_name"])]
