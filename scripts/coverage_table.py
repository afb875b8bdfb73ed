"""Prints what `scripts/test --coverage` has measured, a line a package."""

from __future__ import annotations

import json
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

import coverage

ROOT = Path(__file__).resolve().parents[1]

COUNTS = ("covered_lines", "num_statements", "covered_branches", "num_branches")


class Figures(NamedTuple):
    """Counts of lines and branches, summed over files."""

    lines: int
    statements: int
    taken: int
    branches: int

    def __str__(self) -> str:
        return f"{_percent(self.lines, self.statements)} | {_percent(self.taken, self.branches)}"


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %" if whole else "-"


def _package(file: str) -> str:
    """The package of a file: server/openai for edgeinfer/server/openai/x.py."""
    folders = Path(file).relative_to("edgeinfer").parts[:-1]
    return "/".join(folders[:2]) or "(top)"


def main() -> None:
    """Combine what the processes have left, and print it."""
    measurement = coverage.Coverage(
        data_file=str(ROOT / ".coverage"), config_file=str(ROOT / "pyproject.toml")
    )
    measurement.combine([str(ROOT)])
    measurement.save()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "coverage.json"
        measurement.json_report(outfile=str(path))
        files = json.loads(path.read_text())["files"]
    packages = defaultdict(list)
    for file, report in files.items():
        packages[_package(file)].append([report["summary"][count] for count in COUNTS])
    rows = {name: Figures(*map(sum, zip(*counts, strict=True))) for name, counts in sorted(packages.items())}
    print("| package | lines | branches |\n|---|---|---|")
    for name, figures in rows.items():
        print(f"| `{name}` | {figures} |")
    print(f"| all | {Figures(*map(sum, zip(*rows.values(), strict=True)))} |")
    print("\nline by line: .venv/bin/python -m coverage html", file=sys.stderr)


if __name__ == "__main__":
    main()
