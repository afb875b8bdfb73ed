"""The fleet's API is the daemon's: real Ray, real llama.cpp, two nodes behind one address."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import httpx
import psutil

from tests.support.cluster import STEADY, FleetOnCluster, pieces, until

QUESTION = {"messages": [{"role": "user", "content": "What is edgeinfer?"}], "temperature": 0}
LONG = {**QUESTION, "max_tokens": 300, "ignore_eos": True, "seed": 7, "temperature": 0.8}

WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}

WARNED = """
import time
from edgeinfer.cluster.connection import connected
from edgeinfer.cluster.node import NodeFolder

folder = NodeFolder.default()
with connected(folder, folder.record()) as ray:
    from ray._private.utils import publish_error_to_driver

    publish_error_to_driver("test", "a node is lost", gcs_client=ray._private.worker.global_worker.gcs_client)
    time.sleep(3)
"""
"""A program on the cluster that Ray has a warning for."""


def post(fleet: FleetOnCluster, path: str, body: object) -> httpx.Response:
    return httpx.post(fleet.url + path, json=body, timeout=120)


def test_a_chat_is_streamed_through_the_fleet(fleet: FleetOnCluster) -> None:
    """Piece by piece, and whole if it is asked for so."""
    streamed = list(pieces(fleet, **QUESTION))
    assert len(streamed) > 5
    (choice,) = post(fleet, "/v1/chat/completions", QUESTION).json()["choices"]
    assert choice["message"]["content"] == "".join(streamed)
    assert "stop" == choice["finish_reason"]


def test_a_conversation_goes_where_its_beginning_is_in_the_cache(fleet: FleetOnCluster) -> None:
    """Of two idle replicas, by chance it would go to the wrong one half of the time."""
    for n in range(4):
        manual = f"Manual {n}. " + "Close the lid before you start the machine. " * 30
        cached = []
        for question in ("How?", "Why?", "When?"):
            said = [{"role": "system", "content": manual}, {"role": "user", "content": question}]
            usage = post(fleet, "/v1/chat/completions", {"messages": said, "max_tokens": 2}).json()["usage"]
            cached.append(usage["prompt_tokens_details"]["cached_tokens"] / usage["prompt_tokens"])
        assert min(cached[1:]) > 0.8, cached


def test_another_model_is_loaded_where_it_is_asked_for(fleet: FleetOnCluster) -> None:
    """The same seed gives the same text, whichever replica answers."""
    body = {**QUESTION, "model": STEADY, "max_tokens": 30, "seed": 7, "temperature": 0.8, "ignore_eos": True}
    first, *others = ("".join(pieces(fleet, **body)) for _ in range(3))
    assert first
    assert [first] * 2 == others
    names = [model["id"] for model in httpx.get(f"{fleet.url}/v1/models").json()["data"]]
    assert {"edgeinfer-nano", STEADY} <= set(names)


def test_every_family_answers(fleet: FleetOnCluster) -> None:
    """OpenAI's, Anthropic's, Ollama's and llama-server's."""
    chat = post(fleet, "/v1/chat/completions", QUESTION).json()["choices"][0]["message"]["content"]
    message = {**QUESTION, "model": "default", "max_tokens": 100}
    assert chat == post(fleet, "/v1/messages", message).json()["content"][0]["text"]
    ollama = {
        "model": "default",
        "messages": QUESTION["messages"],
        "stream": False,
        "options": {"temperature": 0},
    }
    assert chat == post(fleet, "/api/chat", ollama).json()["message"]["content"]
    assert post(fleet, "/completion", {"prompt": "Hello", "n_predict": 4}).json()["content"]


def test_a_tool_is_called(fleet: FleetOnCluster) -> None:
    body = {**QUESTION, "tools": [WEATHER], "tool_choice": "required"}
    (call,) = post(fleet, "/v1/chat/completions", body).json()["choices"][0]["message"]["tool_calls"]
    assert "weather" == call["function"]["name"]
    assert ["city"] == list(json.loads(call["function"]["arguments"]))


def test_a_schema_holds(fleet: FleetOnCluster) -> None:
    schema = {
        "type": "object",
        "properties": {"ready": {"type": "boolean"}},
        "required": ["ready"],
        "additionalProperties": False,
    }
    form = {"type": "json_schema", "json_schema": {"name": "s", "schema": schema, "strict": True}}
    body = {**QUESTION, "response_format": form}
    content = post(fleet, "/v1/chat/completions", body).json()["choices"][0]["message"]["content"]
    assert ["ready"] == list(json.loads(content))


def test_tokens_and_embeddings_come_from_a_replica(fleet: FleetOnCluster) -> None:
    tokens = post(fleet, "/tokenize", {"content": "Hello there"}).json()["tokens"]
    assert "Hello there" == post(fleet, "/detokenize", {"tokens": tokens}).json()["content"].strip()
    (embedding,) = post(fleet, "/v1/embeddings", {"input": "Hello"}).json()["data"]
    assert len(embedding["embedding"]) > 10


def test_errors_are_the_daemons(fleet: FleetOnCluster) -> None:
    """With the field, the code and the status that clients know."""
    unknown = post(fleet, "/v1/chat/completions", {**QUESTION, "model": "nobody"})
    assert (404, "model_not_found") == (unknown.status_code, unknown.json()["error"]["code"])
    body = {"messages": [{"role": "user", "content": "word " * 3000}]}
    long = post(fleet, "/v1/chat/completions", body)
    assert (400, "context_length_exceeded") == (long.status_code, long.json()["error"]["code"])
    wrong = post(fleet, "/v1/chat/completions", {**QUESTION, "temperature": "hot"})
    assert (400, "temperature") == (wrong.status_code, wrong.json()["error"]["param"])


def test_the_queue_is_bounded_at_the_ingress(fleet: FleetOnCluster) -> None:
    """What it does not hold gets 429 at once; the rest is answered."""
    body = {**QUESTION, "model": STEADY, "max_tokens": 60, "ignore_eos": True}
    with ThreadPoolExecutor(24) as pool:
        answers = list(pool.map(lambda _: post(fleet, "/v1/chat/completions", body), range(24)))
    refused = [answer for answer in answers if answer.status_code == 429]
    assert refused
    assert all(int(answer.headers["retry-after"]) > 0 for answer in refused)
    assert {200, 429} == {answer.status_code for answer in answers}


def test_metrics_and_status_tell_of_all_replicas(fleet: FleetOnCluster) -> None:
    """Sums over the replicas, under the daemon's names."""
    assert 4 == fleet.parallel()
    metrics = httpx.get(f"{fleet.url}/metrics").text
    assert 'edgeinfer_ready{model="edgeinfer-nano"} 1.0' in metrics
    assert 'edgeinfer_completion_tokens_total{model="edgeinfer-nano"}' in metrics
    nodes = httpx.get(f"{fleet.url}/peers").json()["peers"]
    assert ["edgeinfer-nano"] * 2 == [node["model"] for node in nodes]
    assert all(node["node"] and node["condition"] == "answers" for node in nodes)


def test_a_gone_client_cancels_its_request(fleet: FleetOnCluster) -> None:
    """Its slot in the replica's engine is free at once."""
    stream = pieces(fleet, **{**LONG, "max_tokens": 900})
    for _ in range(10):
        next(stream)
    stream.close()
    until(lambda: 'edgeinfer_running{model="edgeinfer-nano"} 0.0' in httpx.get(f"{fleet.url}/metrics").text)
    assert post(fleet, "/v1/chat/completions", QUESTION).status_code == 200


def test_a_fleet_of_one_machine_listens_on_loopback(fleet: FleetOnCluster) -> None:
    """But for a port of Ray Serve in each of its replicas, which asks for the token."""
    replicas = [process.pid for replica in fleet.replicas() for process in replica.family()]
    open_to_others = {
        (process.pid in replicas or "Ingress" in process.cmdline()[0], connection.laddr.ip)
        for node in (fleet.head, *fleet.nodes)
        for process in node.processes()
        for connection in process.net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN
        and not connection.laddr.ip.removeprefix("::ffff:").startswith("127.")
    }
    assert open_to_others <= {(True, "::")}


def test_a_command_prints_nothing_of_rays_own(fleet: FleetOnCluster) -> None:
    """A warning from a node would stand in the middle of JSON."""
    assert fleet.head.python("-c", WARNED) == ""
