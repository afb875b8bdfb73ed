"""What is wrong with a certificate and its key is told with the file, and with what to do."""

from __future__ import annotations

import os
import shutil
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgeinfer.errors import SettingsError
from edgeinfer.server.http.tls import certificate
from edgeinfer.settings import Settings
from tests.attacks.target import make_certificate
from tests.support.users import NOBODY, root_may_be_another

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl to make certificates")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Good files and bad ones; what is in `other` belongs to another certificate."""
    folder = tmp_path_factory.mktemp("tls")
    cert, key = make_certificate(folder)
    (folder / "other").mkdir()
    make_certificate(folder / "other")
    (folder / "chain.pem").write_text((folder / "other/cert.pem").read_text() + cert.read_text())
    (folder / "both.pem").write_text(cert.read_text() + key.read_text())
    (folder / "both.pem").chmod(0o600)
    (folder / "cert.der").write_bytes(ssl.PEM_cert_to_DER_cert(cert.read_text()))
    (folder / "cut.pem").write_text(cert.read_text()[:200])
    (folder / "text.pem").write_text("My certificate\n")
    (folder / "empty.pem").touch()
    openssl = ("openssl", "pkey", "-in", str(key))
    encrypted = ("-aes128", "-passout", "pass:secret", "-out", str(folder / "encrypted.pem"))
    for arguments in (encrypted, ("-outform", "der", "-out", str(folder / "key.der"))):
        subprocess.run([*openssl, *arguments], check=True, capture_output=True)
    return folder


@pytest.mark.parametrize(
    ("cert", "key", "words", "hint"),
    [
        ("none.pem", "key.pem", "tls_cert: none.pem: No such file", "a file in PEM format"),
        ("cert.pem", "none.pem", "tls_key: none.pem: No such file", "a file in PEM format"),
        ("other", "key.pem", "tls_cert: other: Is a directory", "a file in PEM format"),
        ("text.pem", "key.pem", "tls_cert: text.pem: there is no certificate", "-----BEGIN CERTIFICATE-----"),
        ("empty.pem", None, "tls_cert: empty.pem: there is no certificate", "-----BEGIN CERTIFICATE-----"),
        (
            "cert.der",
            "key.pem",
            "tls_cert: cert.der: there is no certificate",
            "x509 -inform der -in cert.der",
        ),
        ("key.pem", "cert.pem", "tls_cert: key.pem: there is no certificate", "swap the two"),
        ("cert.pem", None, "tls_cert: cert.pem: there is no private key", "give tls_key the file"),
        ("cert.pem", "text.pem", "tls_key: text.pem: there is no private key", "give tls_key the file"),
        ("cert.pem", "key.der", "tls_key: key.der: there is no private key", "pkey -inform der -in key.der"),
        (
            "cert.pem",
            "encrypted.pem",
            "tls_key: encrypted.pem: the key is encrypted",
            "pkey -in encrypted.pem",
        ),
        ("cert.pem", "other/key.pem", "tls_key: other/key.pem: the key is not that of", "made with"),
        ("chain.pem", "key.pem", "the key is not that of the first certificate in chain.pem", "comes first"),
        ("cut.pem", "key.pem", "tls_cert: cut.pem and key.pem: they are damaged", "-text -in cut.pem"),
    ],
)
def test_the_file_at_fault_is_named_and_what_to_do(
    folder: Path, monkeypatch: pytest.MonkeyPatch, cert: str, key: str | None, words: str, hint: str
) -> None:
    monkeypatch.chdir(folder)
    with pytest.raises(SettingsError) as caught:
        certificate(Settings(tls_cert=cert, tls_key=key))
    assert words in caught.value.message
    assert hint in str(caught.value.hint)
    assert str(caught.value.param) in caught.value.message


@pytest.mark.parametrize(("cert", "key"), [("cert.pem", "key.pem"), ("both.pem", None)])
def test_good_files_are_taken(folder: Path, cert: str, key: str | None) -> None:
    """The key may be in the certificate's file."""
    found = certificate(Settings(tls_cert=str(folder / cert), tls_key=str(folder / key) if key else None))
    assert found is not None


@pytest.fixture
def unreadable(folder: Path) -> Iterator[Path]:
    """A key that this process may not read; root would not be stopped by its mode."""
    key, user = folder / "key.pem", os.geteuid()
    key.chmod(0)
    if user == 0:
        if not root_may_be_another():
            pytest.skip("root may read everything, and there is no other user")
        os.seteuid(NOBODY)
    yield key
    os.seteuid(user)
    key.chmod(0o600)


def test_a_file_that_may_not_be_read_is_told_with_its_permissions(folder: Path, unreadable: Path) -> None:
    """The doctor tells by the cause that it is the user who may not."""
    with pytest.raises(SettingsError) as caught:
        certificate(Settings(tls_cert=str(folder / "cert.pem"), tls_key=str(unreadable)))
    assert isinstance(caught.value.__cause__, PermissionError)
    assert "Permission denied" in caught.value.message
    assert "ls -l" in str(caught.value.hint)
