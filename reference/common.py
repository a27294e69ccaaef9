"""What the Python scripts here share; makes nothing itself, needs only the standard library."""

import json
import math
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def number(value):
    value = float(value)
    return value if math.isfinite(value) else None


def numbers(values):
    return [number(value) for value in values]


def write_json(path, value):
    """One key a line, a list of plain values on one line; doubles read back to the same bits."""

    def dump(item, indent):
        inner = indent + " "
        if isinstance(item, dict) and item:
            lines = [f"{inner}{json.dumps(key)}: {dump(entry, inner)}" for key, entry in item.items()]
            return "{\n" + ",\n".join(lines) + f"\n{indent}}}"
        if isinstance(item, list) and any(isinstance(entry, (dict, list)) for entry in item):
            return "[\n" + ",\n".join(inner + dump(entry, inner) for entry in item) + f"\n{indent}]"
        return json.dumps(item, ensure_ascii=False, allow_nan=False)

    text = dump(value, "") + "\n"
    json.loads(text)
    Path(path).write_text(text, encoding="utf-8")
