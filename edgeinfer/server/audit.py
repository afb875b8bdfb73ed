"""Logs each change to keys, and to the models that are served."""

from __future__ import annotations

import getpass
import json
import logging
import os
import re
import syslog

logger = logging.getLogger("edgeinfer.audit")

_PLAIN = re.compile(r"[\w./:@+-]+", re.ASCII)


def record(action: str, **details: object) -> None:
    """Write a line to the daemon's log."""
    logger.info("%s", line(action, **details))


def report(action: str, **details: object) -> None:
    """Write a line to the system log, with the user's name: for commands, which do not run in the daemon."""
    user = os.environ.get("SUDO_USER") or _user()
    syslog.openlog("edgeinfer", syslog.LOG_PID, syslog.LOG_AUTHPRIV)
    syslog.syslog(syslog.LOG_NOTICE, line(action, **details, user=user))


def line(action: str, **details: object) -> str:
    """The text of a line: `key added name=laptop`. Values with special characters are quoted."""
    return " ".join([action, *(f"{name}={_quoted(str(value))}" for name, value in details.items())])


def _quoted(value: str) -> str:
    return value if _PLAIN.fullmatch(value) else json.dumps(value)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        return f"uid {os.getuid()}"
