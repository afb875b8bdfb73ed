"""Which hub the environment names, and as whom it is asked."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from edgeinfer.errors import SettingsError
from edgeinfer.hub.endpoint import PUBLIC_HUB, RetryPolicy, hub_endpoint


def test_the_environment_names_the_hub(tmp_path: Path) -> None:
    """By the client's own variables."""
    endpoint = hub_endpoint(environ={})
    assert (endpoint.url, endpoint.offline, endpoint.retry_policy) == (PUBLIC_HUB, False, RetryPolicy())
    endpoint = hub_endpoint(
        environ={
            "HF_ENDPOINT": "http://board:11436/",
            "HF_TOKEN": " key \n",
            "HF_HUB_DOWNLOAD_TIMEOUT": "7",
            "HF_HUB_OFFLINE": "0",
        }
    )
    assert (endpoint.url, endpoint.host, endpoint.token) == ("http://board:11436", "board:11436", "key")
    assert (endpoint.retry_policy.read_timeout, endpoint.offline, endpoint.public) == (7, False, False)
    assert hub_endpoint(environ={"HF_HUB_OFFLINE": "1"}).offline
    assert hub_endpoint(environ={"TRANSFORMERS_OFFLINE": "true"}).offline
    assert hub_endpoint(offline=True, environ={}).offline


def test_a_kept_token_is_for_the_public_hub_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """HF_ENDPOINT may be a neighbour's board, without TLS."""
    monkeypatch.setattr("huggingface_hub.get_token", lambda: "hf_kept")
    assert hub_endpoint(environ={}).token == "hf_kept"
    assert hub_endpoint(environ={"HF_ENDPOINT": "http://board:11436"}).token is None
    assert hub_endpoint(environ={"HF_HUB_DISABLE_IMPLICIT_TOKEN": "1"}).token is None
    assert hub_endpoint(offline=True, environ={"HF_TOKEN": "x"}).token is None


def test_a_login_of_another_user_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """`sudo -u` and systemd may leave root's HOME; a folder that is named is meant to be read."""

    def unreadable() -> str:
        raise PermissionError(errno.EACCES, "Permission denied", "/root/.cache/huggingface/token")

    monkeypatch.setattr("huggingface_hub.get_token", unreadable)
    assert hub_endpoint(environ={"HOME": "/root"}).token is None
    for name in ("HF_HOME", "HF_TOKEN_PATH", "XDG_CACHE_HOME"):
        with pytest.raises(SettingsError, match="cannot be read") as error:
            hub_endpoint(environ={name: "/root/x"})
        assert error.value.hint == "set HF_TOKEN or HF_HOME"


@pytest.mark.parametrize(
    "environ",
    [
        {"HF_ENDPOINT": "board:11436"},
        {"HF_ENDPOINT": "ftp://board"},
        {"HF_ENDPOINT": "http://"},
        {"HF_ENDPOINT": "http://board:99999"},
        {"HF_ENDPOINT": "http://[board"},
        {"HF_ENDPOINT": "http://me:secret@board"},
        {"HF_ENDPOINT": "http://board/?x"},
        {"HF_TOKEN": "secret\r\nX-Evil: 1"},
        {"HF_TOKEN": "sécret"},
        {"HF_HUB_DOWNLOAD_TIMEOUT": "soon"},
        {"HF_HUB_DOWNLOAD_TIMEOUT": "-1"},
        {"HF_HUB_DOWNLOAD_TIMEOUT": "inf"},
    ],
)
def test_variables_that_make_no_sense_are_refused(environ: dict[str, str]) -> None:
    """By name, and without the secret in them."""
    with pytest.raises(SettingsError) as error:
        hub_endpoint(environ=environ)
    assert error.value.param in environ
    assert "cret" not in f"{error.value} {error.value.hint}"
