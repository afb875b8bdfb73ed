"""A vLLM process from outside: what it is started with, what it logs, and what it answers when something is wrong."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from edgeinfer.backends.vllm import keeper
from edgeinfer.backends.vllm.client import VllmClient
from edgeinfer.backends.vllm.command import arguments, environment
from edgeinfer.backends.vllm.config import VllmConfig
from edgeinfer.backends.vllm.log_tail import LogTail
from edgeinfer.backends.vllm.metrics import parse_metrics
from edgeinfer.backends.vllm.tokenizer_copy import write_tokenizer
from edgeinfer.errors import (
    ConstraintFailed,
    DecodeFailed,
    EdgeinferError,
    InvalidRequest,
    ModelLoadFailed,
    WorkerDied,
)
from edgeinfer.inference.sampling import SamplingParams
from edgeinfer.inference.structured_output import StructuredOutput
from edgeinfer.inference.types import Span
from edgeinfer.safetensors.folder import read_tokenizer
from tests.support.server import eventually
from tests.support.tiny_qwen2 import write_tiny_qwen2

SERVER = '''\
#!{python}
"""Serves what the real one would only say when something is broken: EDGE_SCRIPT names it by its prompt's first token."""
import json, os, socket, sys
sys.path[:0] = {path!r}
import uvicorn
from starlette.applications import Starlette
from starlette.responses import JSONResponse, PlainTextResponse, StreamingResponse
from starlette.routing import Route

def chunk(**fields):
    return "data: " + json.dumps(fields) + "\\n\\n"

def choice(tokens, finish=None):
    return chunk(choices=[{{"index": 0, "token_ids": tokens, "finish_reason": finish}}])

async def completions(request):
    body = await request.json()
    if request.headers["authorization"] != "Bearer " + os.environ["VLLM_API_KEY"]:
        return JSONResponse({{"error": "Unauthorized"}}, 401)
    first = body["prompt"][0]
    if first == 1:
        return JSONResponse({{"error": {{"message": "no such thing", "param": "top_k"}}}}, 400)
    if first == 2:
        return PlainTextResponse("broken", 500)
    if first == 5:
        os._exit(9)
    def stream():
        yield choice([97])
        if first == 3:
            yield chunk(error={{"message": "it failed", "code": 500}})
        elif first == 4:
            yield "data: {{no json\\n\\n"
        elif first == 6:
            print("WARNING 11-30 14:02:03 [backend_guidance.py:231] LLMatcher error: too complex", file=sys.stderr, flush=True)
            import time; time.sleep(0.5)
            yield choice([264], "stop")
        else:
            yield choice([98, 264], "stop")
            yield chunk(choices=[], usage={{"prompt_tokens": 1, "prompt_tokens_details": {{"cached_tokens": 1}}}})
        yield "data: [DONE]\\n\\n"
    return StreamingResponse(stream(), media_type="text/event-stream")

async def tokenize(request):
    text = (await request.json())["prompt"]
    return JSONResponse({{"tokens": [264] if text == "<|im_end|>" else list(text.encode())}})

async def ok(request):
    return PlainTextResponse("")

async def version(request):
    return JSONResponse({{"version": "0.1"}})

app = Starlette(routes=[
    Route("/v1/completions", completions, methods=["POST"]), Route("/tokenize", tokenize, methods=["POST"]),
    Route("/health", ok), Route("/metrics", ok), Route("/version", version),
])
if os.environ.get("VLLM_TEST_FAILS"):
    sys.exit("ValueError: No available memory for the cache blocks")
uvicorn.run(app, uds=sys.argv[sys.argv.index("--uds") + 1], log_level="error")
'''


@pytest.fixture
def config(tmp_path: Path) -> VllmConfig:
    program = tmp_path / "vllm"
    program.write_text(SERVER.format(python=sys.executable, path=sys.path))
    program.chmod(0o755)
    model = write_tiny_qwen2(tmp_path / "tiny")
    return VllmConfig(str(model), "tiny", str(program), ctx=64, parallel=2)


@asynccontextmanager
async def started(config: VllmConfig) -> AsyncIterator[VllmClient]:
    client = VllmClient(config, load_timeout=60, wait=60)
    await client.start()
    try:
        yield client
    finally:
        await client.aclose()


async def text(client: VllmClient, first: int, **more: Any) -> str:
    deltas = client.generate([first], SamplingParams(max_tokens=5), **more)
    return "".join([delta.text async for delta in deltas])


async def test_failures_are_told_apart(config: VllmConfig) -> None:
    """A request that is refused, one that fails, and an answer that cannot be understood."""
    async with started(config) as client:
        assert "ab" == await text(client, 0)
        for first, kind, problem in (
            (1, InvalidRequest, "no such thing"),
            (2, DecodeFailed, "broken"),
            (3, DecodeFailed, "it failed"),
            (4, DecodeFailed, "cannot be understood"),
        ):
            with pytest.raises(EdgeinferError, match=problem) as error:
                await text(client, first)
            assert type(error.value) is kind
        assert "ab" == await text(client, 0)
        assert 0 == client.health.restarts


async def test_a_grammar_that_vllm_gives_up_fails_the_answer(config: VllmConfig) -> None:
    """It would let it end anywhere, and call that complete."""
    grammar = '{"grammars": [{"name": "main", "lark_grammar": "start: /a+/"}]}'
    async with started(config) as client:
        assert "a" == await text(client, 6)  # without one it does not matter
        with pytest.raises(ConstraintFailed):
            await text(client, 6, structured=StructuredOutput(grammar))


async def test_a_request_that_ends_every_process_fails_alone(config: VllmConfig) -> None:
    """After two of them; others get the next one."""
    async with started(config) as client:
        with pytest.raises(WorkerDied, match="this request crashes"):
            await text(client, 5)
        assert "ab" == await text(client, 0)
        assert 2 <= client.health.restarts


async def test_a_start_that_fails_says_what_vllm_said(
    config: VllmConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The line that says most, and no folders."""
    monkeypatch.setenv("VLLM_TEST_FAILS", "1")
    async with started(config) as client:
        with pytest.raises(ModelLoadFailed, match="No available memory for the cache blocks"):
            await client.ready()
        assert "failed" == client.health.state


async def test_tokens_are_made_with_vllms_tokenizer(config: VllmConfig) -> None:
    """Control tokens are put in by us."""
    async with started(config) as client:
        await client.ready()
        tokens = await client.tokenize([Span("a<|im_end|>"), Span("<|im_end|>", trusted=False)])
        assert [97, 264, *b"<|im_end|>"] == tokens.ids
        assert "a" == await client.detokenize([97])


def test_no_secret_reaches_it(tmp_path: Path) -> None:
    """Only what it needs, by name, and its own key; never its key among the arguments."""
    config = VllmConfig("/m", "m", "/opt/vllm", ctx=64, parallel=2, cards=(1, 3), gpu_memory=0.876)
    given = {
        "CACHE_DIRECTORY": "/var/cache/edgeinfer",
        "HF_TOKEN": "x",
        "AWS_SECRET": "y",
        "VLLM_API_KEY": "old",
        "PATH": "/bin",
        "NCCL_DEBUG": "WARN",
    }
    env = environment(config, "new", "/private", given)
    assert ("/bin", "WARN", "new", "1,3") == (
        env["PATH"],
        env["NCCL_DEBUG"],
        env["VLLM_API_KEY"],
        env["CUDA_VISIBLE_DEVICES"],
    )
    assert not {"HF_TOKEN", "AWS_SECRET"} & set(env)
    assert "/var/cache/edgeinfer/vllm" == env["XDG_CACHE_HOME"] == env["HOME"]
    assert "/private" == env["TMPDIR"]
    args = arguments(config, str(tmp_path / "socket"), "/t")
    assert "new" not in args
    assert ["--tensor-parallel-size", "2"] == args[args.index("--tensor-parallel-size") :][:2]
    assert "safetensors" == args[args.index("--load-format") + 1]
    assert "--trust-remote-code" not in args


async def read_log(*lines: str) -> LogTail:
    stream = asyncio.StreamReader()
    stream.feed_data("".join(lines).encode())
    stream.feed_eof()
    tail = LogTail()
    await tail.read(stream)
    return tail


async def test_the_log_says_why_and_how_far() -> None:
    """The cause comes before its consequences."""
    tail = await read_log(
        "\rLoading safetensors checkpoint shards:  50% Completed | 1/2 [00:01<00:01]",
        "\n(EngineCore pid=7) ERROR 11-30 [core.py:1] ValueError: To serve at least one request, 2 GiB is needed\n",
        "(APIServer pid=1) RuntimeError: Engine core initialization failed. See root cause above.\n",
    )
    assert 0.5 == tail.progress
    assert "ValueError: To serve at least one request, 2 GiB is needed" == tail.reason
    only = await read_log("RuntimeError: Engine core initialization failed. See root cause above.\n")
    assert "Engine core initialization failed" in only.reason
    long = await read_log("x" * 100_000 + "\n")
    assert "" == long.reason


def test_metrics_are_read() -> None:
    """Those of several engines are added, and others are ignored."""
    metrics = parse_metrics(
        textwrap.dedent(
            """\
            # HELP vllm:iteration_tokens_total x
            vllm:iteration_tokens_total_count{engine="0"} 12.0
            vllm:kv_cache_usage_perc{engine="0"} 0.25
            vllm:cache_config_info{block_size="16",engine="0",num_gpu_blocks="100"} 1.0
            vllm:num_preemptions_total{engine="0"} 3.0
            vllm:broken{ 5
            python_gc 1
            """
        )
    )
    assert (12, 0.25, 1600, 3) == (metrics.steps, metrics.kv_usage, metrics.kv_tokens, metrics.preemptions)
    assert 0 == parse_metrics("").steps


def test_tags_are_ordinary_tokens_of_its_tokenizer(tmp_path: Path) -> None:
    """None is renumbered."""
    model = write_tiny_qwen2(tmp_path / "tiny")
    copy = tmp_path / "copy"
    copy.mkdir()
    before = read_tokenizer(model).vocabulary
    write_tokenizer(model, copy, {"<think>", "</think>", "<tool_call>", "</tool_call>"})
    after = read_tokenizer(copy).vocabulary
    assert {"<|endoftext|>", "<|im_start|>", "<|im_end|>"} == set(after.added)
    assert before.pieces == after.pieces


def test_the_keeper_ends_all_of_it_with_the_pipe(tmp_path: Path) -> None:
    """Also what the command has started, in whatever process."""
    marker = tmp_path / "pid"
    script = f"sleep 600 & echo $! > {marker}; wait"
    theirs, ours = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-I", keeper.__file__, str(theirs), "sh", "-c", script], pass_fds=(theirs,)
    )
    os.close(theirs)
    assert eventually(lambda: marker.exists() and marker.read_text().endswith("\n"), 20)
    child = psutil.Process(int(marker.read_text()))
    os.close(ours)
    assert -signal.SIGKILL == process.wait(20)
    assert eventually(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE, 20)


def test_the_keeper_passes_the_exit_status_on() -> None:
    """As if it were not there."""
    theirs, ours = os.pipe()
    done = subprocess.run(
        [sys.executable, "-I", keeper.__file__, str(theirs), "sh", "-c", "exit 7"],
        pass_fds=(theirs,),
        check=False,
    )
    os.close(theirs)
    os.close(ours)
    assert 7 == done.returncode
