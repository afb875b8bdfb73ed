"""Runs functions of a client program for the tests, which have another environment.

A request is a line of JSON on standard input, `[function, arguments]`; the answer is one on standard output,
`{"value": …}` or `{"error": traceback}`.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import os
import runpy
import sys
import traceback
from typing import Any


def answer(functions: dict[str, Any], name: str, arguments: list[Any]) -> dict[str, Any]:
    try:
        value = functions[name](*arguments)
        return {"value": asyncio.run(value) if inspect.iscoroutine(value) else value}
    except Exception:
        return {"error": traceback.format_exc()}


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints is no answer
    functions = runpy.run_path(sys.argv[1])
    for line in sys.stdin:
        print(json.dumps(answer(functions, *json.loads(line))), file=answers, flush=True)


if __name__ == "__main__":
    main()
