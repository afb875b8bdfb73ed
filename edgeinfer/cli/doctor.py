"""`edgeinfer doctor`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from edgeinfer.cli.terminal import CYAN, GREEN, RED, YELLOW

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edgeinfer.doctor.finding import Finding

WIDTH = 80
NAME_WIDTH, LEVEL_WIDTH = 15, 9

STYLES = {"ok": GREEN, "note": CYAN, "warning": YELLOW, "error": RED}

FIX = "fix: "


def doctor(
    json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
    fast: Annotated[
        bool, typer.Option("--fast", help="Skip reading the models to see whether they have changed.")
    ] = False,
) -> None:
    """Check the installation and the machine, and suggest fixes.

    The exit code is 1 if there is an error, else 0. With sudo it also checks what only the system service
    may read.

    Examples:
      edgeinfer doctor
      edgeinfer doctor --json --fast
    """
    import logging

    from edgeinfer.cli import terminal
    from edgeinfer.cli.progress import make_progress
    from edgeinfer.doctor.checks import CHECKS
    from edgeinfer.doctor.context import DoctorContext
    from edgeinfer.doctor.runner import run_checks

    context = DoctorContext(fast=fast, progress=make_progress())
    findings = []
    logging.disable()  # the findings say what matters
    try:
        for batch in run_checks(CHECKS, context):
            findings += batch
            if not json:
                for line in finding_lines(batch, terminal.report_width()):
                    level = line[NAME_WIDTH : NAME_WIDTH + LEVEL_WIDTH]
                    rest = line[NAME_WIDTH + LEVEL_WIDTH :] + "\n"
                    style = STYLES.get(level.strip(), "")
                    terminal.write_styled((line[:NAME_WIDTH], ""), (level, style), (rest, ""))
    finally:
        logging.disable(logging.NOTSET)
    if json:
        terminal.write_json(findings)
    else:
        terminal.say(summary(findings))
    if any(finding.level == "error" for finding in findings):
        raise typer.Exit(1)


def finding_lines(findings: list[Finding], width: int = WIDTH) -> Iterator[str]:
    """Yield the findings of one check as lines for a person."""
    for number, finding in enumerate(findings):
        name = finding.check if number == 0 else ""
        yield from _wrapped(f"{name:<{NAME_WIDTH}}{finding.level:<{LEVEL_WIDTH}}", finding.text, width)
        if finding.fix:
            yield from _wrapped(" " * NAME_WIDTH + FIX, finding.fix, width)


def _wrapped(start: str, text: str, width: int) -> list[str]:
    """Wrap only at spaces, so that paths and options can be copied."""
    import textwrap

    return textwrap.wrap(
        text,
        width,
        initial_indent=start,
        subsequent_indent=" " * len(start),
        break_long_words=False,
        break_on_hyphens=False,
    )


def summary(findings: list[Finding]) -> str:
    """Return the number of findings by level, in one line."""
    counts = {
        level: sum(finding.level == level for finding in findings) for level in ("error", "warning", "note")
    }
    parts = [f"{count} {level}{'' if count == 1 else 's'}" for level, count in counts.items() if count]
    return ", ".join(parts) or "no problems"
