"""Installs pip into a virtual environment that has none, from a wheelhouse.

Usage: get_pip.py PLACE PYTHON

PYTHON is that of the environment. Debian's Python can make an environment with pip only where python3-venv is installed,
and a machine without a network may not have it.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
import urllib.error
import urllib.parse
from pathlib import Path

from wheel_links import Links, file_name, hide_login, read


def main(place: str, python: str) -> None:
    shown = hide_login(place)
    try:
        address = find_pip(place)
        if address is None:
            raise SystemExit(
                f"error: this Python comes without pip, and {shown} has none\nhint: sudo apt install python3-venv"
            )
        content = read(address) if "://" in address else Path(address).read_bytes()
    except (OSError, ValueError) as e:
        raise SystemExit(f"error: {shown} cannot be read: {e}") from e
    promised = urllib.parse.parse_qs(urllib.parse.urlsplit(address).fragment).get("sha256", [""])[0]
    if promised not in ("", hashlib.sha256(content).hexdigest()):
        raise SystemExit(f"error: {file_name(address)} is not the file that {shown} promises by its sha256")
    with tempfile.TemporaryDirectory() as folder:
        wheel = Path(folder, file_name(address))
        wheel.write_bytes(content)
        command = [python, f"{wheel}/pip", "--disable-pip-version-check", "install", "--quiet", "--no-index"]
        if subprocess.run([*command, wheel], check=False).returncode:
            raise SystemExit(f"error: {wheel.name} cannot be installed")


def find_pip(place: str) -> str | None:
    """Return the path or the address of a wheel of pip; its versions differ in nothing that matters here."""
    if "://" not in place:
        return next((str(path) for path in Path(place).glob("pip-*.whl")), None)
    for page in (f"{place.rstrip('/')}/pip/", place):  # of an index, or of links
        try:
            links = Links(page).urls
        except urllib.error.HTTPError as e:
            if e.code != 404:
                raise
            continue
        if found := [link for link in links if file_name(link).startswith("pip-")]:
            return found[-1]
    return None


if __name__ == "__main__":
    main(*sys.argv[1:])
