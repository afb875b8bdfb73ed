"""Refusals of a hub, as errors that say what to do."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from edgeinfer.errors import DownloadFailed, EdgeinferError, Forbidden, ModelNotFound
from edgeinfer.hub.endpoint import PUBLIC_HUB, Endpoint
from edgeinfer.hub.hub_index import repo_files
from tests.support.faulty_hub import REPO, Answer, FaultyHub, refusal, serving
from tests.support.hub import at


@pytest.fixture
def hub() -> Iterator[FaultyHub]:
    with serving(FaultyHub({})) as hub:
        yield hub


REFUSALS = [
    (refusal(401, "GatedRepo"), None, Forbidden, "only available to users who have accepted its licence", "accept the licence at"),
    (refusal(403, "GatedRepo"), "hf_x", Forbidden, "accepted its licence", "request access at"),
    (refusal(404, "RepoNotFound"), None, ModelNotFound, f"has no model {REPO}", "check the spelling"),
    (refusal(401, "RepoNotFound"), None, ModelNotFound, "or it is private", "set HF_TOKEN"),
    (refusal(404, "RevisionNotFound"), None, ModelNotFound, "no such revision", "/commits"),
    (refusal(403, "Other"), "hf_x", Forbidden, "denies access to someone/Nano-GGUF: so it is", "HF_TOKEN"),
    (refusal(418, "Other"), None, DownloadFailed, "answers 418", ""),
    (
        Answer(401, {"X-Error-Message": "Invalid credentials in Authorization header"}),
        "hf_x",
        Forbidden,
        "does not accept the token",
        "HF_TOKEN",
    ),
    (
        Answer(401, {"X-Error-Message": "Invalid credentials in Authorization header"}),
        None,
        Forbidden,
        "requires a key",
        "HF_TOKEN",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("answer", "token", "cls", "message", "hint"), REFUSALS)
def test_a_refusal_says_what_to_do(
    hub: FaultyHub, answer: Answer, token: str | None, cls: type[EdgeinferError], message: str, hint: str
) -> None:
    """At once: it will not get better by asking again."""
    hub.first_answers = [answer]
    with pytest.raises(cls) as error:
        repo_files(REPO, hub=at(hub, token))
    assert type(error.value) is cls
    assert message in error.value.message
    assert hint in (error.value.hint or "")
    assert len(hub.requests) == 1


def test_logging_in_is_for_the_public_hub(hub: FaultyHub) -> None:
    """Its command knows no other; elsewhere the key is a variable."""
    from edgeinfer.hub.connection import HubConnection

    public = HubConnection(Endpoint())._refusal(401, "GatedRepo", "", "huggingface.co", REPO)
    assert public.hint == f"accept the licence at {PUBLIC_HUB}/{REPO}, then: hf auth login (or set HF_TOKEN)"


def test_what_the_server_says_is_no_command_to_the_terminal(hub: FaultyHub) -> None:
    """Nor more than a line."""
    hub.first_answers = [Answer(403, {"X-Error-Message": "a\x1b[31mred" + "x" * 1000})]
    with pytest.raises(Forbidden) as error:
        repo_files(REPO, hub=at(hub))
    assert "\x1b" not in error.value.message
    assert len(error.value.message) < 400
