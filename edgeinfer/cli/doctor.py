"""`edgeinfer doctor`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edgeinfer.doctor.finding import Finding

WIDTH = 80
NAME, LEVEL = 15, 9
"""Columns."""

FIX = "fix: "


def doctor(
    json: Annotated[bool, typer.Option("--json", help="Print the findings for a program.")] = False,
    fast: Annotated[
        bool, typer.Option("--fast", help="Do not read the models again to see whether they have changed.")
    ] = False,
) -> None:
    """Examine the installation and the machine; say what is wrong, and how to mend it.

    The exit code is 1 if anything does not work (error), else 0. With sudo it sees what is the system
    service's alone.

    Examples:
      edgeinfer doctor
      edgeinfer doctor --json --fast
    """
    import logging

    import msgspec

    from edgeinfer.cli import terminal
    from edgeinfer.cli.progress import progress
    from edgeinfer.doctor.checks import CHECKS
    from edgeinfer.doctor.examination import examine
    from edgeinfer.doctor.site import Site

    site = Site(fast=fast, progress=progress())
    findings = []
    logging.disable()  # what is worth knowing is among the findings
    try:
        for found in examine(CHECKS, site):
            findings += found
            if not json:
                terminal.write("".join(f"{line}\n" for line in lines(found)))
    finally:
        logging.disable(logging.NOTSET)
    if json:
        terminal.write(msgspec.json.format(msgspec.json.encode(findings)).decode() + "\n")
    else:
        terminal.say(verdict(findings))
    if any(finding.level == "error" for finding in findings):
        raise typer.Exit(1)


def lines(findings: list[Finding]) -> Iterator[str]:
    """The findings of one check for a person."""
    for number, finding in enumerate(findings):
        name = finding.check if number == 0 else ""
        yield from _wrapped(f"{name:<{NAME}}{finding.level:<{LEVEL}}", finding.text)
        if finding.fix:
            yield from _wrapped(" " * NAME + FIX, finding.fix)


def _wrapped(start: str, text: str) -> list[str]:
    """Broken at spaces alone, as paths and options are to be copied."""
    import textwrap

    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=start,
        subsequent_indent=" " * len(start),
        break_long_words=False,
        break_on_hyphens=False,
    )


def verdict(findings: list[Finding]) -> str:
    """In one line."""
    counts = {
        level: sum(finding.level == level for finding in findings) for level in ("error", "warning", "note")
    }
    said = [f"{count} {level}{'' if count == 1 else 's'}" for level, count in counts.items() if count]
    return ", ".join(said) or "all is well"
