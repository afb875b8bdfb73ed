"""The attacks that docs/security.md lists: those that no other test is about, and that each has one."""

from __future__ import annotations

import ast
import re
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.server import Scripted, Served, error, serving

TESTS = Path(__file__).parents[1]
TABLE = (TESTS.parent / "docs" / "security.md").read_text().partition("## Attacks")[2]
ROWS = [line.strip("| ").split(" | ") for line in TABLE.splitlines() if line.startswith("| ")][1:]


def test_there_is_a_row_for_every_attack_of_the_class() -> None:
    """CVEs of servers like this one, and what they are about."""
    for cve in (
        "2024-12886",
        "2024-28224",
        "2024-34359",
        "2024-37032",
        "2025-0315",
        "2026-5760",
        "2026-7482",
        "2026-21869",
        "2026-27940",
        "2026-45339",
        "2026-45400",
        "2026-45401",
    ):
        assert f"CVE-{cve}" in TABLE


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0][:40])
def test_every_row_has_a_test_that_exists_or_a_reason(row: list[str]) -> None:
    """A name that leads nowhere would be a promise that nobody keeps."""
    named = re.findall(r"`((?:\w+/)*test_\w+\.py)(?:::(test_\w+))?`", row[2] if len(row) > 2 else "")
    assert named or re.search(r"\*.+\*", row[1])
    for file, function in named:
        tree = ast.parse((TESTS / file).read_text())
        found = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
        assert not function or function in found, f"{file} has no {function}"


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with serving(Scripted()) as found:
        yield found


@pytest.mark.parametrize(
    "name",
    ["../../etc/passwd", "/etc/passwd", "a\x00b", "..", ".", "%2e%2e%2fetc", "a/../b", "\\\\host\\x", "~"],
)
def test_a_hostile_model_name_is_no_path(served: Served, name: str) -> None:
    """In a body or in a path it is just a name that nobody has."""
    found = served.chat(model=name)
    assert (found.status_code, error(found)["code"]) == (404, "model_not_found")
    path = "".join(f"%{byte:02x}" for byte in name.encode())
    found = served.client.get(f"/v1/models/{path}")
    assert found.status_code == 404
    assert "root:" not in found.text


class Listener:
    """Somebody who notices whether anything is fetched from it."""

    def __init__(self) -> None:
        self.visits = 0
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}/x"
        self._thread = threading.Thread(target=self._accept)
        self._thread.start()

    def _accept(self) -> None:
        while True:
            connection, _ = self._socket.accept()
            with connection:
                if connection.recv(4) == b"stop":
                    return
                self.visits += 1

    def close(self) -> None:
        with socket.create_connection(self._socket.getsockname()) as connection:
            connection.sendall(b"stop")
        self._thread.join()
        self._socket.close()


def test_nothing_in_a_request_is_fetched(served: Served) -> None:
    """No image, no schema, no file, wherever its address stands."""
    listener = Listener()
    url = listener.url
    user = {"role": "user", "content": url}
    image = {"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}
    schema = {"$ref": url, "$schema": url, "$id": url}
    bodies: list[dict[str, Any]] = [
        {"messages": [user]},
        {"messages": [image]},
        {"messages": [user], "model": url},
        {"messages": [user], "response_format": {"type": "json_schema", "json_schema": {"schema": schema}}},
        {"messages": [user], "json_schema": {"$ref": url}},
        {"messages": [user], "json_schema": {"type": "object", "properties": {"a": {"$dynamicRef": url}}}},
        {
            "messages": [user],
            "tools": [{"type": "function", "function": {"name": "f", "parameters": schema}}],
        },
        {"messages": [user], "web_search_options": {"url": url}},
    ]
    statuses = [served.client.post("/v1/chat/completions", json=body).status_code for body in bodies]
    listener.close()
    assert listener.visits == 0
    assert statuses[0] == 200
    assert set(statuses[1:]) <= {400, 404}


NUMBERS = {
    "n": (-1, 0, 2**31, 2**63, 2**64, 1.5, "1", True),
    "max_tokens": (-2, 0, 2**31, 2**64, 1.0, "9", False),
    "max_completion_tokens": (-2, 0, 2**64),
    "temperature": (-0.1, 101, 1e300, "0", True),
    "top_p": (-0.1, 1.1, 1e300),
    "min_p": (-1, 2),
    "typical_p": (-0.1, 1.1, "1", True),
    "top_k": (-2, 2**31, 1.5),
    "repeat_penalty": (0, -1, 1e9),
    "repeat_last_n": (-2, 2**31),
    "presence_penalty": (-2.1, 2.1),
    "frequency_penalty": (-2.1, 2.1),
    "seed": (-(2**63) - 1, 2**63, 2**64, 1.5),
    "thinking_budget": (-1, 2**31),
    "top_logprobs": (-1, 21),
}
OTHER_NAMES = ("n_predict", "typ_p")
"""Names of other servers for fields of ours; errors have the name that was sent."""


@pytest.mark.parametrize("name", OTHER_NAMES)
def test_a_number_out_of_bounds_is_refused_under_another_name_too(served: Served, name: str) -> None:
    for value in (-2, 2**31):
        fields: dict[str, Any] = {name: value}
        found = served.chat(**fields)
        assert (found.status_code, error(found)["param"]) == (400, name), value


@pytest.mark.parametrize("name", NUMBERS)
def test_a_number_out_of_bounds_is_refused_by_name(served: Served, name: str) -> None:
    """Nothing is clamped, nothing is converted."""
    for value in NUMBERS[name]:
        body = {"messages": [{"role": "user", "content": "x"}], "logprobs": True, name: value}
        found = served.client.post("/v1/chat/completions", json=body)
        assert (found.status_code, error(found)["param"]) == (400, name), value


@pytest.mark.parametrize("value", [-1, 5, 2**63])
def test_a_number_that_nobody_asks_for_has_no_effect(served: Served, value: int) -> None:
    """llama-server's `n_discard` shifted its context out of bounds; here it is named as ignored."""
    found = served.chat(n_discard=value)
    assert (found.status_code, found.headers["x-edgeinfer-ignored"]) == (200, "n_discard")


@pytest.mark.parametrize(
    "number",
    ["NaN", "Infinity", "-Infinity", "1e999", "-1e999", "9" * 5000, "1" + "0" * 400, "0x10", "01", "+1"],
)
@pytest.mark.parametrize("name", ["temperature", "seed", "max_tokens"])
def test_numbers_that_are_none_are_no_json(served: Served, name: str, number: str) -> None:
    """Or no number that anything could have; either way it is the caller's fault, quickly."""
    body = f'{{"messages": [{{"role": "user", "content": "x"}}], "{name}": {number}}}'
    headers = {"content-type": "application/json"}
    found = served.client.post("/v1/chat/completions", content=body.encode(), headers=headers)
    assert found.status_code == 400


def test_a_hundred_megabytes_are_refused_without_being_kept(served: Served) -> None:
    """Announced or in chunks; the daemon has not read them when it answers, and goes on."""
    head = b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    for more in (b"Content-Length: 104857600\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n"):
        sent = 0
        with socket.create_connection(("127.0.0.1", served.port)) as sock:
            sock.settimeout(0.0)
            chunk = b"10000\r\n" + b" " * 65536 + b"\r\n"
            pieces = iter([head + more] + [chunk] * 1600)
            answer = b""
            for piece in pieces:
                sock.settimeout(20)
                sock.sendall(piece)
                sent += len(piece)
                sock.settimeout(0.001)
                try:
                    answer += sock.recv(65536)
                except TimeoutError:
                    continue
                break
        assert b" 413 " in answer.partition(b"\r\n")[0]
        assert sent < 40_000_000
    assert served.chat().status_code == 200


def test_no_other_route_deletes(served: Served) -> None:
    """What can be deleted is a model or a stored response; nothing can be put or patched."""
    paths = served.client.get("/openapi.json").json()["paths"]
    methods = {(method, path) for path, found in paths.items() for method in found}
    assert {method for method, _ in methods} == {"get", "post", "delete"}
    deleting = {path for method, path in methods if method == "delete"}
    assert deleting == {"/api/delete", "/models", "/v1/responses/{response_id}"}
    for path in ("/api/pull", "/v1/models/scripted", "/slots/0", "/props"):
        for method in ("PUT", "PATCH"):
            assert served.client.request(method, path, json={}).status_code in (404, 405)


@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/api/pull"), ("DELETE", "/api/delete"), ("POST", "/models")]
)
def test_a_foreign_page_can_neither_pull_nor_delete(served: Served, method: str, path: str) -> None:
    """Not even with a request that browsers send without asking first."""
    for origin in ("https://evil.example", "null", "http://localhost:5173"):
        headers = {"origin": origin, "content-type": "text/plain"}
        found = served.client.request(method, path, content=b'{"model": "qwen3-0.6b"}', headers=headers)
        assert found.status_code == 403
