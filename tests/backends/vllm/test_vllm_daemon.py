"""A model folder served with the real vLLM on a CPU, asked over HTTP as any client does."""

from __future__ import annotations

import json
import re
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from tests.support.daemon import Process, edgeinfer
from tests.support.processes import children
from tests.support.server import eventually
from tests.support.tiny_qwen2 import write_tiny_qwen2
from tests.support.vllm import on_cpu, vllm_environment

pytestmark = [pytest.mark.heavy, pytest.mark.slow, pytest.mark.alone, pytest.mark.timeout(1200)]

START = 600
"""Seconds that vLLM may take to start: 25 on a machine that does nothing else."""

CHAT = "/v1/chat/completions"
HELLO = [{"role": "user", "content": "hello"}]

LAMP = {
    "type": "function",
    "function": {
        "name": "set_lamp",
        "parameters": {
            "type": "object",
            "properties": {"room": {"enum": ["hall", "attic"]}, "on": {"type": "boolean"}},
            "required": ["room", "on"],
            "additionalProperties": False,
        },
    },
}

COLOUR = {
    "type": "json_schema",
    "json_schema": {
        "name": "colour",
        "schema": {
            "type": "object",
            "properties": {"colour": {"enum": ["red", "blue"]}, "parts": {"type": "integer", "maximum": 9}},
            "required": ["colour", "parts"],
            "additionalProperties": False,
        },
    },
}


class Daemon:
    def __init__(self, process: Process) -> None:
        self.process = process
        self.http = httpx.Client(base_url=process.url(), timeout=START)

    def ready(self) -> bool:
        return self.http.get("/ready").status_code == 200

    def chat(self, **fields: Any) -> httpx.Response:
        return self.http.post(CHAT, json={"messages": HELLO, "seed": 1, **fields})

    def answer(self, **fields: Any) -> dict[str, Any]:
        response = self.chat(**fields)
        assert response.status_code == 200, response.text
        choice: dict[str, Any] = response.json()["choices"][0]
        return choice

    def error(self, **fields: Any) -> tuple[int, str]:
        response = self.chat(**fields)
        return response.status_code, response.json()["error"]["param"]

    def status(self) -> dict[str, Any]:
        status: dict[str, Any] = self.http.get("/status").json()
        return status

    def engine(self) -> psutil.Process:
        """vLLM's process that computes."""
        (engine,) = children("EngineCore", self.status()["pid"], recursive=True)
        return engine


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    folder = tmp_path_factory.mktemp("vllm")
    model = write_tiny_qwen2(folder / "tiny", shards=2)
    command = str(vllm_environment())
    arguments = ("--model", str(model), "--port", "0", "--vllm-command", command, "--hang-timeout", "20")
    with on_cpu(), edgeinfer(folder, *arguments) as process:
        daemon = Daemon(process)
        assert eventually(daemon.ready, START), "".join(process.lines)
        yield daemon
        daemon.http.close()


def streamed(response: httpx.Response) -> Iterator[dict[str, Any]]:
    for line in response.iter_lines():
        if line.startswith("data: {"):
            yield json.loads(line[6:])


def text_of(chunks: list[dict[str, Any]]) -> str:
    return "".join(c["choices"][0]["delta"].get("content") or "" for c in chunks if c["choices"])


def test_the_same_seed_gives_the_same_answer_streamed_or_not(daemon: Daemon) -> None:
    """And the count of tokens is the request's."""
    whole = daemon.answer(max_tokens=12)
    assert "length" == whole["finish_reason"]
    request = {"messages": HELLO, "seed": 1, "max_tokens": 12, "stream": True}
    with daemon.http.stream("POST", CHAT, json=request) as response:
        chunks = list(streamed(response))
    assert whole["message"]["content"] == text_of(chunks)
    assert len(chunks) > 6  # token by token


def test_a_tool_call_has_valid_arguments(daemon: Daemon) -> None:
    """The model is random: only the grammar makes them."""
    choice = daemon.answer(tools=[LAMP], tool_choice="required", max_tokens=120)
    call = choice["message"]["tool_calls"][0]["function"]
    assert "set_lamp" == call["name"]
    assert {"room", "on"} == json.loads(call["arguments"]).keys()


def test_an_answer_follows_its_schema(daemon: Daemon) -> None:
    """Of any kind that we compile."""
    answer = json.loads(daemon.answer(response_format=COLOUR, max_tokens=80)["message"]["content"])
    assert answer["colour"] in ("red", "blue")
    assert 9 >= answer["parts"]
    assert "ja" == daemon.answer(grammar='root ::= "ja"', max_tokens=20)["message"]["content"]


def test_logprobs_spell_the_answer(daemon: Daemon) -> None:
    """With the most likely tokens first."""
    choice = daemon.answer(max_tokens=6, logprobs=True, top_logprobs=3)
    entries = choice["logprobs"]["content"]
    assert choice["message"]["content"].encode() == bytes(b for e in entries for b in e["bytes"])
    for entry in entries:
        likelihoods = [top["logprob"] for top in entry["top_logprobs"]]
        assert sorted(likelihoods, reverse=True) == likelihoods
        assert 3 == len(likelihoods)


def test_a_stop_text_ends_the_answer_and_is_not_in_it(daemon: Daemon) -> None:
    """It may lie across tokens."""
    whole = daemon.answer(max_tokens=12)["message"]["content"]
    stop = whole[4:6]
    choice = daemon.answer(max_tokens=12, stop=[stop])
    assert "stop" == choice["finish_reason"]
    assert whole.partition(stop)[0] == choice["message"]["content"]


def test_several_answers_differ(daemon: Daemon) -> None:
    """Each has a seed of its own."""
    response = daemon.chat(n=3, max_tokens=10, temperature=1.5)
    texts = {choice["message"]["content"] for choice in response.json()["choices"]}
    assert 1 < len(texts)
    assert 30 == response.json()["usage"]["completion_tokens"]


def test_text_of_a_user_never_becomes_a_control_token(daemon: Daemon) -> None:
    """Neither those that vLLM's tokenizer finds by itself, nor those that it does not know."""
    for text in ("<|im_end|>", "<think>"):
        trusted = daemon.http.post("/tokenize", json={"content": text, "parse_special": True}).json()[
            "tokens"
        ]
        plain = daemon.http.post("/tokenize", json={"content": text, "parse_special": False}).json()["tokens"]
        assert 1 == len(trusted)
        assert 1 < len(plain)
        assert trusted[0] not in plain
        assert text == daemon.http.post("/detokenize", json={"tokens": plain}).json()["content"]


def test_what_vllm_cannot_do_is_refused_by_name(daemon: Daemon) -> None:
    """Nothing is left out in silence."""
    assert (400, "typical_p") == daemon.error(typical_p=0.5)
    assert (400, "repeat_last_n") == daemon.error(repeat_penalty=1.1, repeat_last_n=8)
    assert (400, "length_policy") == daemon.error(response_format=COLOUR, length_policy="complete")
    assert (400, "messages") == daemon.error(messages=[])
    long = [{"role": "user", "content": "a" * 5000}]
    assert "context_length_exceeded" == daemon.chat(messages=long).json()["error"]["code"]
    embeddings = daemon.http.post("/v1/embeddings", json={"input": "a"})
    assert (400, "model") == (embeddings.status_code, embeddings.json()["error"]["param"])


def test_a_gone_client_cancels_its_request(daemon: Daemon) -> None:
    """vLLM computes no longer for it."""
    request = {"messages": HELLO, "max_tokens": 1500, "ignore_eos": True, "stream": True}
    with daemon.http.stream("POST", CHAT, json=request) as response:
        next(streamed(response))
    assert eventually(lambda: daemon.status()["stats"]["running"] == 0, 20)


def test_the_plan_says_why(daemon: Daemon) -> None:
    """And which program computes."""
    status = daemon.status()
    assert "vLLM" == status["engine"]["name"]
    assert any(reason.startswith("engine vllm:") for reason in status["plan"]["reasons"])


def test_it_is_confined(daemon: Daemon) -> None:
    """All of its processes: none has more than a loopback."""
    assert daemon.status()["confinement"]["worker"].startswith("Landlock")
    engine = daemon.engine()
    interfaces = Path(f"/proc/{engine.pid}/net/dev").read_text().splitlines()[2:]
    assert ["lo"] == [line.split(":")[0].strip() for line in interfaces]
    assert "2" == re.findall(r"^Seccomp:\s+(\d)", Path(f"/proc/{engine.pid}/status").read_text(), re.M)[0]


def test_answers_go_on_after_a_crash(daemon: Daemon) -> None:
    """A killed engine is restarted, and the streams have no seam, one of them under a grammar."""
    text = {"type": "string", "minLength": 60, "maxLength": 60, "pattern": "^[a-z ]*$"}
    letters = {"type": "json_schema", "json_schema": {"name": "text", "schema": text}}
    common: dict[str, Any] = {"messages": HELLO, "seed": 5, "max_tokens": 70, "temperature": 0}
    requests = [common | {"ignore_eos": True}, common | {"response_format": letters}]
    expected = [daemon.answer(**request)["message"]["content"] for request in requests]
    chunks = [list[dict[str, Any]]() for _ in requests]

    def read(at: int) -> None:
        with daemon.http.stream("POST", CHAT, json={**requests[at], "stream": True}) as response:
            chunks[at].extend(streamed(response))

    restarts = daemon.status()["restarts"]
    threads = [threading.Thread(target=read, args=(at,)) for at in range(len(requests))]
    for thread in threads:
        thread.start()
    assert eventually(lambda: all(len(each) > 8 for each in chunks), 60)
    daemon.engine().kill()
    for thread in threads:
        thread.join()
    assert expected == [text_of(each) for each in chunks]
    assert (restarts + 1, 2) == (daemon.status()["restarts"], daemon.status()["resumed"])


def test_an_engine_that_stands_still_is_restarted(daemon: Daemon) -> None:
    """Its server still answers /health."""
    engine, restarts = daemon.engine(), daemon.status()["restarts"]
    request = {"messages": HELLO, "max_tokens": 40, "ignore_eos": True, "stream": True}
    stopped = threading.Event()
    with daemon.http.stream("POST", CHAT, json=request) as response:
        for at, _ in enumerate(streamed(response)):
            if at == 3:
                engine.send_signal(signal.SIGSTOP)
                stopped.set()
    assert stopped.is_set()
    assert restarts + 1 == daemon.status()["restarts"]
    assert "hung" in daemon.status()["last_exit"]


def test_no_process_outlives_a_killed_daemon(tmp_path: Path) -> None:
    """The keeper ends vLLM with it."""
    model = write_tiny_qwen2(tmp_path / "tiny")
    arguments = ("--model", str(model), "--port", "0", "--vllm-command", str(vllm_environment()))
    with on_cpu(), edgeinfer(tmp_path, *arguments) as process:
        assert eventually(lambda: len(family(process)) > 1, 120)  # the keeper, and what it keeps
        started = family(process)
        process.end(signal.SIGKILL)
    assert eventually(lambda: not any(map(is_alive, started)), 60)


def is_alive(process: psutil.Process) -> bool:
    """Whether it still runs: one that has ended may wait for somebody to ask how."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def family(process: Process) -> list[psutil.Process]:
    return children("vllm", process.process.pid, recursive=True)


def test_a_broken_file_is_named_before_vllm_starts(tmp_path: Path) -> None:
    """The daemon stops with the status for a model that cannot be loaded."""
    model = write_tiny_qwen2(tmp_path / "tiny")
    weights = model / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    start = time.monotonic()
    with edgeinfer(
        tmp_path, "--model", str(model), "--port", "0", "--vllm-command", str(vllm_environment())
    ) as process:
        assert 3 == process.process.wait(60)
        process._reader.join()
        assert "model.safetensors is not a sound safetensors file" in "".join(process.lines)
    assert time.monotonic() > start
