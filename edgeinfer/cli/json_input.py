"""JSON that the user gives: in files, or typed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from edgeinfer.errors import InvalidRequest


def read_json(file: Path) -> Any:
    """Return the JSON in a file, in any UTF, with or without a byte order mark.

    Raises:
        InvalidRequest: the file cannot be read, or is not JSON.
    """
    try:
        return json.loads(file.read_bytes())
    except OSError as e:
        problem = e.strerror or str(e)
    except UnicodeDecodeError:
        problem = "it is not UTF-8"
    except RecursionError:
        problem = "the JSON is nested too deeply"
    except ValueError as e:
        problem = f"it is not JSON: {e}"
    raise InvalidRequest(f"{file}: {problem}")


def json_format(schema: Any) -> dict[str, Any]:
    """Return the field `response_format` of a request whose answer is JSON that matches a schema."""
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}
