"""Runs checks one after the other; a check that crashes or hangs does not stop the others."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator, Sequence

import msgspec

from edgeinfer.doctor.context import DoctorContext
from edgeinfer.doctor.finding import Finding, from_error
from edgeinfer.errors import EdgeinferError
from edgeinfer.settings import Loaded

CHECK_TIMEOUT = 45.0
"""Seconds for a check that runs other programs, each of which has a shorter timeout."""


class Check(msgspec.Struct, frozen=True):
    """One check and how it is run.

    Attributes:
        run: returns no findings if there is nothing to look at.
        timeout: in seconds.
        needs_settings: the check is skipped if the settings cannot be read.
    """

    name: str
    run: Callable[[DoctorContext], list[Finding]]
    timeout: float = CHECK_TIMEOUT
    needs_settings: bool = False


def run_checks(checks: Sequence[Check], context: DoctorContext) -> Iterator[list[Finding]]:
    """Yield the findings of each check as soon as it is done."""
    for check in checks:
        results: queue.SimpleQueue[list[Finding]] = queue.SimpleQueue()
        threading.Thread(target=_run, args=(check, context, results), daemon=True).start()
        try:
            yield results.get(timeout=check.timeout)
        except queue.Empty:
            text = f"the check did not finish within {check.timeout:g} s and was skipped"
            fix = "try again when the machine is less busy; dead network disks and broken drivers hang too"
            yield [Finding(check.name, "warning", text, fix)]


def _run(check: Check, context: DoctorContext, results: queue.SimpleQueue[list[Finding]]) -> None:
    try:
        skipped = check.needs_settings and not isinstance(context.loaded, Loaded)
        findings = [] if skipped else check.run(context)
    except EdgeinferError as e:
        findings = [from_error(check.name, e, "edgeinfer logs")]
    except ImportError as e:
        text = f"a package that the check needs is missing or broken: {e}"
        findings = [Finding(check.name, "error", text, "reinstall edgeinfer with all its dependencies")]
    except PermissionError as e:
        text = f"{e.filename or 'a file'} may not be read by this user"
        findings = [Finding(check.name, "error", text, "run doctor as the user that it belongs to")]
    except Exception as e:
        text = f"the check itself failed: {type(e).__name__}: {e}"
        findings = [Finding(check.name, "error", text, "report this as a bug in edgeinfer doctor")]
    results.put([_printable(finding) for finding in findings])


def _printable(finding: Finding) -> Finding:
    """Spell out bytes that are not text, which file names may contain."""
    text, fix = (
        part and part.encode(errors="backslashreplace").decode() for part in (finding.text, finding.fix)
    )
    return msgspec.structs.replace(finding, text=text, fix=fix)
