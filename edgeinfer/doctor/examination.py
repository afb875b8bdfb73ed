"""Checks, one after the other: none ends the others, by crashing or by never ending."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator, Sequence

import msgspec

from edgeinfer.doctor.finding import Finding, from_error
from edgeinfer.doctor.site import Site
from edgeinfer.errors import EdgeinferError
from edgeinfer.settings import Loaded

LIMIT = 45.0
"""Seconds for a check that asks other programs, each of which has less."""


class Check(msgspec.Struct, frozen=True):
    """Attributes:
    look: returns nothing where there is nothing to look at.
    limit: in seconds.
    of_settings: without settings that can be read there is nothing to look at.
    """

    name: str
    look: Callable[[Site], list[Finding]]
    limit: float = LIMIT
    of_settings: bool = False


def examine(checks: Sequence[Check], site: Site) -> Iterator[list[Finding]]:
    """The findings of each check, as soon as it is done."""
    for check in checks:
        results: queue.SimpleQueue[list[Finding]] = queue.SimpleQueue()
        threading.Thread(target=_look, args=(check, site, results), daemon=True).start()
        try:
            yield results.get(timeout=check.limit)
        except queue.Empty:
            text = f"it was not done within {check.limit:g} s, and was left"
            fix = "try again when the machine has less to do; dead network disks and broken drivers hang too"
            yield [Finding(check.name, "warning", text, fix)]


def _look(check: Check, site: Site, results: queue.SimpleQueue[list[Finding]]) -> None:
    try:
        found = check.look(site) if not check.of_settings or isinstance(site.loaded, Loaded) else []
    except EdgeinferError as e:
        found = [from_error(check.name, e, "edgeinfer logs")]
    except ImportError as e:
        text = f"a package that it takes is missing, or broken: {e}"
        found = [Finding(check.name, "error", text, "install edgeinfer anew, with all that it wants")]
    except Exception as e:
        text = f"this check failed itself: {type(e).__name__}: {e}"
        found = [Finding(check.name, "error", text, "report it as a fault of edgeinfer doctor")]
    results.put([_legible(finding) for finding in found])


def _legible(finding: Finding) -> Finding:
    """Names of files may hold bytes that are no text."""
    text, fix = (
        part and part.encode(errors="backslashreplace").decode() for part in (finding.text, finding.fix)
    )
    return msgspec.structs.replace(finding, text=text, fix=fix)
