"""The daemon's side of one vLLM process, from its start to its exit."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import shutil
import signal
import sys
import tempfile
import time
from asyncio.subprocess import PIPE, STDOUT, Process
from collections.abc import Collection, Iterator
from pathlib import Path

import httpx
import msgspec

from edgeinfer.backends.supervision.heartbeat import Heartbeat
from edgeinfer.backends.supervision.quarantine import CrashQuarantine
from edgeinfer.backends.supervision.request import InFlightRequest
from edgeinfer.backends.supervision.waiting import finish, wait_with_timeout
from edgeinfer.backends.supervision.worker import STOPPED, died
from edgeinfer.backends.supervision.worker_exit import WorkerExit, oom_kills
from edgeinfer.backends.vllm import keeper
from edgeinfer.backends.vllm.command import arguments, cache, environment
from edgeinfer.backends.vllm.config import VllmConfig
from edgeinfer.backends.vllm.confine import REPORT, ConfinedCommand
from edgeinfer.backends.vllm.log_tail import LogTail
from edgeinfer.backends.vllm.metrics import VllmMetrics, parse_metrics
from edgeinfer.backends.vllm.span_tokenizer import SpanTokenizer
from edgeinfer.backends.vllm.tokenizer_copy import write_tokenizer
from edgeinfer.errors import DecodeFailed, EdgeinferError, ModelLoadFailed, NotReady, WorkerDied
from edgeinfer.inference.output import EngineStats, Finish
from edgeinfer.inference.types import EngineBuild, ModelInfo, Prompt
from edgeinfer.ipc.confinement.confinement import Confinement
from edgeinfer.ipc.environment import child_environment
from edgeinfer.safetensors.folder import TokenizerFacts, folder_revision

STOP_TIMEOUT = 10.0
"""Seconds that it may take to end."""

POLL = 0.25
"""Seconds between two looks at a process that is loading."""

LOOK_TIMEOUT = 5.0
"""Seconds that it may take to answer while it is loading."""

LOG_PATIENCE = 1.0
"""Seconds for the rest of its log, after it has ended."""

EXIT_PATIENCE = 5.0
"""Seconds in which a process that has broken a connection may end by itself."""


class _TokenizeAnswer(msgspec.Struct):
    tokens: list[int]


class VllmProcess:
    """Implements Worker for `vllm serve`, which listens on a unix socket in a folder that nobody else can enter.

    Attributes:
        revision: identity of the model's folder when the process was started.
        http: sends requests to it.
        tokenizer: the model's vocabulary and templates.
        confinement: the layers that hold for it; None until it is ready.
        ends: the tokens that end an answer.
    """

    def __init__(
        self,
        config: VllmConfig,
        info: ModelInfo,
        tokenizer: TokenizerFacts,
        ends: frozenset[int],
        markers: Collection[str],
        hang_timeout: float,
        quarantine: CrashQuarantine,
        *,
        confine: bool = True,
    ) -> None:
        """`info` is what the folder says; `quarantine` is told what was in flight in a crash.

        `markers`: control tokens that grammars speak of, and that are shown as text.
        """
        self.config = config
        self.confinement: Confinement | None = None
        self.tokenizer = tokenizer
        self.ends = ends
        self.heartbeat = Heartbeat(hang_timeout)
        self.info: ModelInfo | None = None
        self.load_seconds = 0.0
        self.revision = folder_revision(Path(config.model))
        self.useful = False
        self._oom_kills = oom_kills()
        self.exit: WorkerExit | None = None
        self.idle = asyncio.Event()
        self.idle.set()
        self.build: EngineBuild | None = None
        self._totals = EngineStats()
        self.log = LogTail()
        self._known = info
        added, special = tokenizer.vocabulary.added, tokenizer.vocabulary.special.difference(markers)
        self._ordinary = frozenset(
            text for text, id in added.items() if text not in special and id not in ends
        )
        self._span_tokenizer = SpanTokenizer(tokenizer, added.keys() - self._ordinary, self._encode)
        self._quarantine = quarantine
        self._confine = confine
        self._metrics = VllmMetrics()
        self._in_flight: dict[InFlightRequest, int] = {}
        self._fed = False
        self._kill_reason: str | None = None
        self._folder: Path | None = None
        self._process: Process | None = None
        self._lifeline: int | None = None
        self._exited: asyncio.Task[None] | None = None
        self._watching: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int:
        return self._process.pid if self._process else 0

    @property
    def stats(self) -> EngineStats:
        return EngineStats(
            running=sum(self._in_flight.values()),
            cells=self._metrics.kv_tokens,
            cells_used=round(self._metrics.kv_tokens * min(1.0, self._metrics.kv_usage)),
            prompt_tokens_total=self._totals.prompt_tokens_total,
            cached_tokens_total=self._totals.cached_tokens_total,
            completion_tokens_total=self._totals.completion_tokens_total,
            steps_total=self._metrics.steps,
            preemptions_total=self._metrics.preemptions,
        )

    async def start(self) -> None:
        """Start the process. Raises OSError."""
        await finish(self._start())

    async def _start(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="edgeinfer-vllm-"))  # only we can enter it
        socket, key = str(self._folder / "socket"), secrets.token_urlsafe(32)
        theirs, ours = os.pipe()
        try:
            await asyncio.to_thread(write_tokenizer, Path(self.config.model), self._folder, self._ordinary)
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-I",
                keeper.__file__,
                str(theirs),
                *self._command(arguments(self.config, socket, tokenizer=str(self._folder))),
                pass_fds=(theirs,),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=PIPE,
                stderr=STDOUT,
                env=child_environment() | environment(self.config, key, str(self._folder)),
                cwd=self._folder,
            )
        except BaseException:
            os.close(ours)
            shutil.rmtree(self._folder, ignore_errors=True)
            raise
        finally:
            os.close(theirs)
        self._lifeline = ours
        self.http = httpx.AsyncClient(
            transport=httpx.AsyncHTTPTransport(uds=socket, limits=httpx.Limits(max_connections=None)),
            base_url="http://vllm",
            headers={"Authorization": f"Bearer {key}"},
            timeout=None,
            trust_env=False,
        )
        self._exited = asyncio.create_task(self._wait())

    def _command(self, words: list[str]) -> list[str]:
        """The command line that becomes vLLM."""
        store = cache()
        with contextlib.suppress(OSError):  # vLLM says what it cannot write
            store.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not self._confine:
            return words
        gpu = bool(self.config.cards)
        return ConfinedCommand(words, self.config.model, str(self._folder), str(store), gpu).argv()

    def _layers(self) -> Confinement:
        """The layers that hold for the process."""
        if not self._confine:
            return Confinement(missing=("confinement: the setting confine is off",))
        assert self._folder
        return msgspec.json.decode((self._folder / REPORT).read_bytes(), type=Confinement)

    async def loaded(self, timeout: float) -> ModelInfo:
        """Wait until the model answers.

        Raises:
            WorkerDied: the process ended.
            NotReady: it was not ready after `timeout` seconds.
        """
        start = time.monotonic()
        while not await self._answers():
            if self.exit:
                raise died(self.exit)
            if time.monotonic() - start > timeout:
                raise NotReady(f"the model was not loaded within {timeout:g} s", hint="raise --load-timeout")
            await asyncio.sleep(POLL)
        await self._check_tokens()
        self.load_seconds = time.monotonic() - start
        self.build = EngineBuild(await self._version(), name="vLLM")
        self.confinement = self._layers()
        self.info = self._known
        self.log.progress = None
        self.log.clear()
        self._watching = asyncio.create_task(self._watch())
        return self.info

    async def _answers(self) -> bool:
        """Whether it serves the model by now."""
        if self.exit is not None:
            return False
        with contextlib.suppress(httpx.HTTPError, OSError):
            health = await self.http.get("/health", timeout=LOOK_TIMEOUT)
            return health.status_code == httpx.codes.OK
        return False

    async def _check_tokens(self) -> None:
        """Raise ModelLoadFailed if vLLM numbers tokens in another way than the model's files."""
        numbers = self.tokenizer.vocabulary.added
        for text in (text for text, id in numbers.items() if id in self.ends):
            if await self._encode(text) != [numbers[text]]:
                raise ModelLoadFailed(
                    f"vLLM does not find the token {text[:50]!r}: it does not understand this tokenizer.json",
                    param="model",
                    hint="use the model's GGUF file",
                )

    async def _version(self) -> str:
        with contextlib.suppress(httpx.HTTPError, ValueError):
            return str((await self.http.get("/version", timeout=LOOK_TIMEOUT)).json().get("version", ""))
        return ""

    @contextlib.contextmanager
    def carrying(self, request: InFlightRequest, answers: int = 1) -> Iterator[None]:
        """Count a request as in flight. Raises WorkerDied if the process has ended."""
        self.check_alive()
        self._in_flight[request] = answers
        self.idle.clear()
        try:
            yield
        finally:
            del self._in_flight[request]
            if not self._in_flight:
                self.idle.set()

    async def tokens(self, prompt: Prompt, *, add_bos: bool) -> list[int]:
        """The tokens of a prompt. Raises WorkerDied if the process has ended."""
        return await self._span_tokenizer.tokens(prompt, add_bos=add_bos)

    async def _encode(self, text: str) -> list[int]:
        self.check_alive()
        body = {"model": self.config.name, "prompt": text, "add_special_tokens": False}
        try:
            answer = await self.http.post("/tokenize", json=body)
            return msgspec.json.decode(answer.content, type=_TokenizeAnswer).tokens
        except httpx.HTTPError as e:
            raise await self.lost(str(e) or type(e).__name__) from e
        except ValueError as e:
            raise DecodeFailed(f"vLLM could not tokenize a text: {answer.text[:300]}") from e

    def count(self, finish: Finish) -> None:
        """Count an answer that has ended."""
        totals = EngineStats(
            prompt_tokens_total=finish.prompt_tokens,
            cached_tokens_total=finish.cached_tokens,
            completion_tokens_total=finish.completion_tokens,
        )
        self._totals = totals.with_totals_of(self._totals)

    async def is_healthy(self) -> bool:
        """Whether its engine says that it can go on."""
        return self.exit is None and await self._answers()

    def check_alive(self) -> None:
        """Raise WorkerDied if the process has ended."""
        if self.exit is not None:
            raise died(self.exit)

    def on_output(self) -> None:
        """It has computed something."""
        self.useful = self._fed = True

    def on_progress(self, request: InFlightRequest) -> None:
        """It has computed what no process before it has."""
        if request.awaits_progress:
            self._quarantine.release(request)

    async def lost(self, problem: str) -> EdgeinferError:
        """The error for a request whose connection broke: the process has ended, or is ended now."""
        if self._exited and not await wait_with_timeout(EXIT_PATIENCE, self._ended()):
            self.kill(f"it broke a connection: {problem}")
            await self._ended()
        return died(self.exit) if self.exit else WorkerDied(problem)

    async def wait(self) -> WorkerExit:
        """Wait until all of it has ended."""
        await self._ended()
        assert self.exit
        return self.exit

    async def stop(self) -> None:
        """Ask it to end; kill it if it takes too long, or is still loading."""
        if self._exited is None:
            return
        self._kill_reason = self._kill_reason or STOPPED
        if self.info is not None:
            self._signal(signal.SIGTERM)
            await wait_with_timeout(STOP_TIMEOUT, self._ended())
        self._cut()
        await self.wait()

    def kill(self, reason: str) -> None:
        """End all of it at once."""
        self._kill_reason = self._kill_reason or reason
        self._cut()

    async def _ended(self) -> None:
        assert self._exited
        await asyncio.shield(self._exited)  # a caller that stops waiting must not stop the reading

    def _cut(self) -> None:
        """Close the pipe: the keeper then kills vLLM's processes."""
        if self._lifeline is not None:
            os.close(self._lifeline)
            self._lifeline = None

    def _signal(self, number: int) -> None:
        if self._process and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)

    async def _wait(self) -> None:
        assert self._process
        assert self._process.stdout
        reading = asyncio.create_task(self.log.read(self._process.stdout))
        status = await self._process.wait()
        self._cut()
        await asyncio.wait([reading], timeout=LOG_PATIENCE)
        reading.cancel()
        if self._watching:
            self._watching.cancel()
        self.exit = WorkerExit(status, self.log.reason, self._kill_reason)
        if self._kill_reason != STOPPED:
            unexplained = status == -signal.SIGKILL and not self._kill_reason
            killed = unexplained and self.useful and oom_kills() == self._oom_kills
            self._quarantine.on_crash(list(self._in_flight), str(self.exit), killed=killed)
        await self.http.aclose()
        if self._folder:
            shutil.rmtree(self._folder, ignore_errors=True)

    async def _watch(self) -> None:
        """Look at it from time to time, and kill it if it hangs."""
        look: asyncio.Task[None] | None = None
        while True:
            await asyncio.sleep(self.heartbeat.period)
            if self.heartbeat.tick():
                look = asyncio.create_task(self._look())
            elif self.heartbeat.hung:
                self.kill(f"it hung: it made no progress for {self.heartbeat.silence:.0f} s")
            elif look is None or look.done():  # it answers, but its engine may stand still
                look = asyncio.create_task(self._look())

    async def _look(self) -> None:
        """Read its figures. It is alive if it has nothing to do, or has done a step since the last look."""
        if self.exit is not None:
            return
        with contextlib.suppress(httpx.HTTPError, OSError):
            answer = await self.http.get("/metrics")
            metrics, before, fed = parse_metrics(answer.text), self._metrics, self._fed
            self._metrics, self._fed = metrics, False
            if fed or not self._in_flight or metrics.steps != before.steps:
                self.heartbeat.on_pong()
