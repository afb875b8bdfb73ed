"""Starts the process monitor for services that were installed under its earlier name.

launchd's property list names this module until `edgeinfer service install` writes it again.
"""

from __future__ import annotations

import sys

from edgeinfer.service.monitor import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
