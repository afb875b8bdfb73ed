"""Two daemons with the bundled model, and a certificate for what stands in front of them."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.nano_daemon import NanoDaemon, make_key

REQUEST = (
    "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -days 2 -subj /CN=ai.example -nodes"
)


@pytest.fixture(scope="session")
def api_key(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """A key, and the file in which the daemons look for it."""
    return make_key(tmp_path_factory.mktemp("keys"))


@pytest.fixture(scope="session")
def daemons(
    tmp_path_factory: pytest.TempPathFactory, api_key: tuple[str, Path]
) -> Iterator[tuple[NanoDaemon, NanoDaemon]]:
    """Both run when a test begins; a test that ends one starts it again."""
    folder = tmp_path_factory.mktemp("daemons")
    variables = {
        "EDGEINFER_API_KEY_FILE": str(api_key[1]),
        "EDGEINFER_ALLOWED_HOSTS": "ai.example",
        "EDGEINFER_THREADS": "1",
        "EDGEINFER_CTX": "4096",
    }
    one, two = (NanoDaemon(folder / name, **variables) for name in ("one", "two"))
    try:
        one.start()
        two.start()
        yield one, two
    finally:
        one.kill()
        two.kill()


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for ai.example, signed by itself, and its key."""
    folder = tmp_path_factory.mktemp("certificate")
    cert, key = folder / "cert.pem", folder / "key.pem"
    name = ("-addext", "subjectAltName=DNS:ai.example")
    command = [*REQUEST.split(), *name, "-out", str(cert), "-keyout", str(key)]
    subprocess.run(command, check=True, capture_output=True)
    return cert, key
