"""Stored responses: retrieved, continued, listed and deleted by the real client."""

from __future__ import annotations

import json
import logging
import stat
from collections.abc import Iterable
from pathlib import Path

import pytest
from openai import BadRequestError, NotFoundError, OpenAI
from openai.types.responses import ResponseInputMessageItem, ResponseItem

from edgeinfer.server.responses import history
from tests.support.responses import THINKING, ResponsesWorld, openai_client, responding
from tests.support.server import error, eventually


def test_a_response_can_be_retrieved_as_it_was(client: OpenAI) -> None:
    """Field by field."""
    made = client.responses.create(
        model="scripted", input="Hi", metadata={"a": "b"}, instructions="Be brief."
    )
    assert client.responses.retrieve(made.id) == made


def test_a_streamed_response_can_be_retrieved_too(client: OpenAI) -> None:
    """It is stored before its last event."""
    with client.responses.stream(model="scripted", input="Hi") as stream:
        made = stream.get_final_response()
    assert client.responses.retrieve(made.id).output_text == "Hello"


def test_a_conversation_goes_on_from_a_response(client: OpenAI, world: ResponsesWorld) -> None:
    """With all that came before, but for the instructions of then."""
    first = client.responses.create(model="scripted", input="One", instructions="Be brief.")
    second = client.responses.create(model="scripted", input="Two", previous_response_id=first.id)
    third = client.responses.create(
        model="scripted", input="Three", previous_response_id=second.id, instructions="Be long."
    )
    assert world.prompt() == (
        "[system]Be long.\n[user]One\n[assistant]Hello\n[user]Two\n[assistant]Hello\n[user]Three\n[assistant]"
    )
    assert third.previous_response_id == second.id


def test_a_conversation_can_go_on_without_new_input(client: OpenAI, world: ResponsesWorld) -> None:
    """The model speaks once more."""
    first = client.responses.create(model="scripted", input="One")
    client.responses.create(model="scripted", previous_response_id=first.id, input=[])
    assert world.prompt().startswith("[user]One\n[assistant]Hello")


def test_thoughts_of_a_stored_response_go_back_to_the_model(client: OpenAI, world: ResponsesWorld) -> None:
    """Nobody has to send them."""
    world.engine.model, world.engine.pieces = THINKING, ("hmm", "</think>", "Yes")
    first = client.responses.create(model="scripted", input="One", reasoning={"summary": "auto"})
    client.responses.create(model="scripted", input="Two", previous_response_id=first.id)
    assert "<think>hmm</think>Yes" in world.prompt()


def test_a_reference_stands_for_a_stored_item(client: OpenAI, world: ResponsesWorld) -> None:
    """Of the output, or of the input."""
    first = client.responses.create(model="scripted", input="One")
    (message,) = first.output
    (asked,) = client.responses.input_items.list(first.id)
    assert message.id
    assert asked.id
    client.responses.create(
        model="scripted",
        input=[
            {"type": "item_reference", "id": asked.id},
            {"type": "item_reference", "id": message.id},
            {"role": "user", "content": "Two"},
        ],
    )
    assert world.prompt() == "[user]One\n[assistant]Hello\n[user]Two\n[assistant]"
    with pytest.raises(BadRequestError, match="send the item itself"):
        client.responses.create(model="scripted", input=[{"type": "item_reference", "id": "msg_1"}])


def texts(items: Iterable[ResponseItem]) -> list[str]:
    """The texts of messages."""
    messages = [item for item in items if isinstance(item, ResponseInputMessageItem)]
    return [part.text for item in messages for part in item.content if part.type == "input_text"]


def test_input_items_come_in_pages(client: OpenAI) -> None:
    """In both orders, each with an id; the client turns the pages."""
    made = client.responses.create(
        model="scripted", input=[{"role": "user", "content": str(n)} for n in range(5)]
    )
    assert texts(client.responses.input_items.list(made.id, limit=2)) == ["4", "3", "2", "1", "0"]
    ascending = client.responses.input_items.list(made.id, order="asc")
    assert texts(ascending.data) == ["0", "1", "2", "3", "4"]
    assert len({item.id for item in ascending.data}) == 5
    for query in ("limit=0", "limit=x", "order=up", "after=msg_1"):
        with pytest.raises(BadRequestError) as raised:
            client.get(f"/responses/{made.id}/input_items?{query}", cast_to=object)
        assert raised.value.param == query.partition("=")[0]


def test_a_deleted_response_is_gone(client: OpenAI) -> None:
    """It can be neither retrieved nor continued, nor deleted again."""
    made = client.responses.create(model="scripted", input="Hi")
    client.responses.delete(made.id)
    for again in (client.responses.retrieve, client.responses.delete, client.responses.cancel):
        with pytest.raises(NotFoundError, match=made.id):
            again(made.id)
    with pytest.raises(BadRequestError) as raised:
        client.responses.create(model="scripted", input="Hi", previous_response_id=made.id)
    assert raised.value.code == "previous_response_not_found"


def test_what_has_ended_cannot_be_cancelled_or_streamed(client: OpenAI) -> None:
    """Both are refused in words that say what to do."""
    made = client.responses.create(model="scripted", input="Hi")
    with pytest.raises(BadRequestError, match="close its connection"):
        client.responses.cancel(made.id)
    with pytest.raises(BadRequestError, match="leave stream out"):
        client.responses.retrieve(made.id, stream=True)


@pytest.mark.parametrize("fields", [{"store": False}, {"stream": True, "store": False}])
def test_what_shall_not_be_stored_is_not(world: ResponsesWorld, fields: dict[str, bool]) -> None:
    """No file, and no response by that id."""
    before = set(world.store.iterdir()) if world.store.exists() else set()
    response = world.post(**fields)
    assert response.status_code == 200
    assert (set(world.store.iterdir()) if world.store.exists() else set()) == before


def test_files_are_private_and_whole(client: OpenAI, world: ResponsesWorld) -> None:
    """No other user of the machine reads them, and no half of one is left."""
    client.responses.create(model="scripted", input="Hi")
    files = list(world.store.iterdir())
    assert files
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    assert stat.S_IMODE(world.store.stat().st_mode) == 0o700
    assert all(json.loads(file.read_bytes())["response"]["object"] == "response" for file in files)


@pytest.mark.parametrize("id", ["resp_1", "..%2f..%2fetc%2fpasswd", "resp_" + "A" * 32, "x" * 300])
def test_an_id_that_is_none_of_ours_is_not_looked_up(world: ResponsesWorld, id: str) -> None:
    """It is no part of a path."""
    response = world.served.client.get(f"/v1/responses/{id}")
    assert response.status_code == 404
    assert world.post(previous_response_id=id[:128]).status_code == 400


def test_another_key_never_sees_or_continues_a_response(tmp_path: Path) -> None:
    """To it there is none."""
    keys = tmp_path / "keys"
    keys.write_text("alpha\nbeta\n")
    keys.chmod(0o600)
    with (
        responding(tmp_path, api_key_file=str(keys)) as world,
        openai_client(world.served, "alpha") as alpha,
        openai_client(world.served, "beta") as beta,
    ):
        made = alpha.responses.create(model="scripted", input="Secret")
        (message,) = made.output
        for look in (beta.responses.retrieve, beta.responses.delete, beta.responses.input_items.list):
            with pytest.raises(NotFoundError):
                look(made.id)
        with pytest.raises(BadRequestError):
            beta.responses.create(model="scripted", input="And?", previous_response_id=made.id)
        with pytest.raises(BadRequestError):
            beta.responses.create(
                model="scripted", input=[{"type": "item_reference", "id": message.id or ""}]
            )
        assert alpha.responses.retrieve(made.id).id == made.id


def test_stored_responses_outlive_the_daemon(tmp_path: Path) -> None:
    """The next one continues them."""
    with responding(tmp_path) as world, openai_client(world.served) as client:
        made = client.responses.create(model="scripted", input="One")
    with responding(tmp_path) as world, openai_client(world.served) as client:
        client.responses.create(model="scripted", input="Two", previous_response_id=made.id)
        assert world.prompt() == "[user]One\n[assistant]Hello\n[user]Two\n[assistant]"


@pytest.mark.parametrize("settings", [{"responses_store_mb": 0}, {"responses_store_hours": 0.0}])
def test_the_store_can_be_off(tmp_path: Path, settings: dict[str, float]) -> None:
    """Nothing is written, and the response says that it is not stored."""
    with responding(tmp_path, **settings) as world:
        body = world.post().json()
        assert body["store"] is False
        assert not world.store.exists()
        refused = world.post(previous_response_id=body["id"])
        assert "responses_store_mb" in error(refused)["message"]


def test_what_was_stored_goes_when_the_store_is_turned_off(tmp_path: Path) -> None:
    """At the next start, before anybody asks for it."""
    with responding(tmp_path) as world:
        world.post()
        assert list(world.store.iterdir())
    with responding(tmp_path, responses_store_mb=0) as world:
        assert eventually(lambda: not list(world.store.iterdir()))


def test_a_store_that_cannot_be_written_costs_no_answer(tmp_path: Path) -> None:
    """The log says it."""
    (tmp_path / "edgeinfer").write_text("in the way")
    with responding(tmp_path) as world:
        body = world.post().json()
        assert body["status"] == "completed"
        assert world.served.client.get(f"/v1/responses/{body['id']}").status_code == 404


def test_a_conversation_that_is_too_long_to_read_is_refused(
    client: OpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By its items, its responses or its size: it is read whole each time."""
    first = client.responses.create(model="scripted", input="One")
    second = client.responses.create(model="scripted", input="Two", previous_response_id=first.id)
    for limit in ("MAX_ITEMS", "MAX_TURNS", "MAX_BYTES"):
        with monkeypatch.context() as patch:
            patch.setattr(history, limit, 1)
            with pytest.raises(BadRequestError, match="begin a new one"):
                client.responses.create(model="scripted", input="x", previous_response_id=second.id)


def test_nothing_of_a_conversation_is_logged(
    client: OpenAI, world: ResponsesWorld, caplog: pytest.LogCaptureFixture
) -> None:
    """Not even if its file is damaged."""
    with caplog.at_level(logging.DEBUG, logger="edgeinfer"):
        made = client.responses.create(model="scripted", input="secret words")
        client.responses.create(model="scripted", input="more of them", previous_response_id=made.id)
        (file,) = world.store.glob(f"*{made.id}*")
        file.write_text('{"input": "secret words"')
        with pytest.raises(NotFoundError):
            client.responses.retrieve(made.id)
    assert "is damaged" in caplog.text
    assert "secret" not in caplog.text
    assert "more of them" not in caplog.text


def test_input_tokens_are_counted(client: OpenAI, world: ResponsesWorld) -> None:
    """Of the whole prompt, with instructions and what came before, and without an answer."""
    made = client.responses.create(model="scripted", input="One")
    world.engine.requests.clear()
    counted = client.responses.input_tokens.count(model="scripted", input="Two", previous_response_id=made.id)
    prompt = "[user]One\n[assistant]Hello\n[user]Two\n[assistant]"
    assert counted.input_tokens == len(prompt) + 1  # letters, and the token for the beginning
    assert not world.engine.requests
