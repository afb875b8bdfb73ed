"""Texts that end llama.cpp's tokenizers on an ordinary stack, sent to a daemon with a real model."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from tests.support.daemon import edgeinfer
from tests.support.gguf import write_tiny


@pytest.mark.parametrize("pre", ["gpt-4o", "tekken", "deepseek-v3"])
def test_a_long_run_costs_a_request_no_worker(pre: str, tmp_path: Path) -> None:
    """It is tokenized, or is too long for the context; the worker goes on."""
    write_tiny(tmp_path / "model.gguf", pre)
    arguments = ("--model", str(tmp_path / "model.gguf"), "--port", "0", "--ctx", "256", "--parallel", "1")
    with edgeinfer(tmp_path, *arguments) as process, httpx.Client(base_url=process.url(), timeout=60) as http:
        process.wait_for("READY=1\nSTATUS=serving model")
        for text in ("a" * 40_000, "字" * 40_000, " " * 40_000 + "x", "\n" * 40_000):
            found = http.post("/tokenize", json={"content": text})
            assert found.status_code == 200
            assert len(found.json()["tokens"]) >= 10_000
            messages = [{"role": "user", "content": text}]
            found = http.post("/v1/chat/completions", json={"messages": messages, "max_tokens": 1})
            assert (found.status_code, found.json()["error"]["code"]) == (400, "context_length_exceeded")
            found = http.post("/v1/embeddings", json={"input": text})
            assert (found.status_code, found.json()["error"]["code"]) == (400, "context_length_exceeded")
        assert 'edgeinfer_worker_restarts_total{model="model"} 0.0' in http.get("/metrics").text
