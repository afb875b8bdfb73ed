"""Writes the list of what a release consists of and needs: a CycloneDX document (JSON, version 1.6) on standard output.

Usage: sbom.py FOLDER, the one with the packages. SOURCE_DATE_EPOCH is the time that it names.
It has edgeinfer's files, everything that requirements/base.txt pins, for any machine, with the hashes of its files, and the
web page's libraries.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
import uuid
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
VENDOR = ROOT / "edgeinfer/server/web/static/vendor/manifest.json"

Component = dict[str, Any]


def main(folder: Path) -> None:
    files = sorted(path for path in folder.iterdir() if path.suffix in (".whl", ".gz"))
    [package] = [path for path in files if path.name.startswith("edgeinfer-") and path.suffix == ".whl"]
    version = package.name.split("-")[1]
    components = [*_files(files), *_pins(), *_vendored()]
    name = "pkg:pypi/edgeinfer@" + version
    document: dict[str, Any] = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "timestamp": datetime.fromtimestamp(
                int(os.environ["SOURCE_DATE_EPOCH"]), timezone.utc
            ).isoformat(),
            "component": {
                "type": "application",
                "bom-ref": name,
                "name": "edgeinfer",
                "version": version,
                "purl": name,
                "licenses": [{"license": {"id": "Apache-2.0"}}],
            },
        },
        "components": components,
        "dependencies": [{"ref": name, "dependsOn": sorted({one["bom-ref"] for one in components})}],
    }
    document["serialNumber"] = f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, json.dumps(document))}"
    json.dump(document, sys.stdout, indent=1)
    sys.stdout.write("\n")


def _files(paths: list[Path]) -> Iterator[Component]:
    for path in paths:
        yield {
            "type": "file",
            "bom-ref": f"file:{path.name}",
            "name": path.name,
            "hashes": [_sha256(hashlib.sha256(path.read_bytes()).hexdigest())],
        }


def _pins() -> Iterator[Component]:
    """What is pinned; a package may have another version where a condition holds."""
    text = (ROOT / "requirements/base.txt").read_text()
    for line in text.replace("\\\n", " ").splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        requirement = Requirement(line.partition(" --hash")[0])
        [specifier] = requirement.specifier
        purl = f"pkg:pypi/{canonicalize_name(requirement.name)}@{specifier.version}"
        component: Component = {
            "type": "library",
            "bom-ref": purl,
            "name": requirement.name,
            "version": specifier.version,
            "purl": purl,
        }
        # They are those of the files on the package index, one of which is installed.
        hashes = re.findall(r"--hash=sha256:([0-9a-f]{64})", line)
        properties = [{"name": "edgeinfer:file:sha256", "value": value} for value in hashes]
        if requirement.marker:
            properties.append({"name": "edgeinfer:condition", "value": str(requirement.marker)})
        yield component | ({"properties": properties} if properties else {})


def _vendored() -> Iterator[Component]:
    """The web page's libraries, as they are in the package."""
    for one in json.loads(VENDOR.read_text()):
        name = one["package"].replace("@", "%40")
        yield {
            "type": "library",
            "bom-ref": f"pkg:npm/{name}@{one['version']}#{one['file']}",
            "name": one["package"],
            "version": one["version"],
            "purl": f"pkg:npm/{name}@{one['version']}#{one['file']}",
            "licenses": [{"expression": one["license"]}],
            "hashes": [_sha256(one["sha256"])],
        }


def _sha256(value: str) -> dict[str, str]:
    return {"alg": "SHA-256", "content": value}


if __name__ == "__main__":
    main(Path(sys.argv[1]))
