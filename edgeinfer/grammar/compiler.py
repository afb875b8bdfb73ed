"""The daemon's client of the grammar process."""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict

import msgspec

from edgeinfer.errors import GrammarTooComplex, InvalidRequest, revive
from edgeinfer.grammar.limits import MAX_COMPILED_BYTES, MAX_MEMORY, MAX_SOURCE_BYTES, SIMPLIFY_HINT
from edgeinfer.grammar.protocol import MAX_FRAME, GrammarReply, GrammarRequest
from edgeinfer.grammar.source import CompiledGrammar, Grammar, GrammarSource
from edgeinfer.ipc.child_client import ChildCrashed, ChildTimeout
from edgeinfer.ipc.child_pool import ChildPool
from edgeinfer.ipc.confinement.confinement import Confinement
from edgeinfer.ipc.framing import encode


class GrammarCompiler:
    """Compiles callers' grammars and checks answers in child processes, the first of which the first call starts.

    A schema is a program written by a possible attacker, and can demand more time and memory than there is. Calls
    run one at a time in each; a call that exceeds `timeout` seconds or breaks the process fails alone.
    """

    PROCESSES = ChildPool.SIZE

    MAX_CACHED = 64
    """Compiled grammars in the cache, as long as their texts total no more than MAX_COMPILED_BYTES."""

    def __init__(self, timeout: float = 2.0) -> None:
        self._timeout = timeout
        self._child = ChildPool("edgeinfer.grammar.process", GrammarReply, MAX_FRAME, timeout, noun="grammar")
        self._cache: OrderedDict[bytes, CompiledGrammar] = OrderedDict()

    async def compile(self, grammar: Grammar) -> CompiledGrammar:
        """Compile a grammar for the worker's matcher.

        Raises:
            InvalidRequest: a source is not what its kind says; UnsupportedSchema: it cannot be enforced;
                GrammarTooComplex: a limit was exceeded. `param` is the source's.
            UnsupportedParameter: llguidance is not available on this platform.
            ShuttingDown: the compiler was closed.
        """
        param = grammar.sources[0].param if grammar.sources else None
        request = _encode(GrammarRequest(self._timeout, grammar=_grammar_to_wire(grammar)), param)
        if len(request) > MAX_SOURCE_BYTES:
            raise GrammarTooComplex(
                f"schemas and grammars are limited to {MAX_SOURCE_BYTES >> 10} KiB",
                param=param,
                hint=SIMPLIFY_HINT,
            )
        key = hashlib.sha256(request).digest()
        compiled = self._cache.get(key)
        if compiled is None:
            reply = await self._exchange(request, param, GrammarTooComplex)
            assert reply.compiled is not None
            compiled = reply.compiled
            self._remember(key, compiled)
        else:
            self._cache.move_to_end(key)
        return compiled

    async def find_violation(self, source: GrammarSource, text: str) -> str | None:
        """Check the answer `text` against a JSON schema: None, or the first error and where in the answer it is.

        Raises:
            InvalidRequest: the check exceeded a limit of time or memory; or as `compile`.
        """
        request = _encode(
            GrammarRequest(self._timeout, source=_source_to_wire(source), text=text), source.param
        )
        return (await self._exchange(request, source.param, InvalidRequest)).violation

    @property
    def confinement(self) -> Confinement | None:
        """The layers that hold for the processes; None before the first start."""
        return self._child.confinement

    def rest(self) -> None:
        """End idle processes until the next call."""
        self._child.rest()

    async def close(self) -> None:
        """End the process. Calls in progress, queued or yet to come raise ShuttingDown."""
        await self._child.close()

    async def _exchange(
        self, request: bytes, param: str | None, limit_error: type[InvalidRequest]
    ) -> GrammarReply:
        try:
            reply = await self._child.ask(request)
        except ChildTimeout:
            raise limit_error(
                f"the schema or grammar took longer than {self._timeout:g} seconds to process",
                param=param,
                hint=SIMPLIFY_HINT,
            ) from None
        except ChildCrashed as e:
            raise limit_error(
                f"the schema or grammar needs more than {MAX_MEMORY >> 20} MiB of memory, or is nested too deeply",
                param=param,
                hint=SIMPLIFY_HINT,
            ) from e
        if reply.error is not None:
            raise revive(reply.error)
        return reply

    def _remember(self, key: bytes, compiled: CompiledGrammar) -> None:
        self._cache[key] = compiled
        while (
            len(self._cache) > self.MAX_CACHED
            or sum(len(c.text) for c in self._cache.values()) > MAX_COMPILED_BYTES
        ):
            self._cache.popitem(last=False)


def _grammar_to_wire(grammar: Grammar) -> Grammar:
    return Grammar(grammar.lark, tuple(_source_to_wire(source) for source in grammar.sources))


def _source_to_wire(source: GrammarSource) -> GrammarSource:
    """Encode a source's content as JSON text. Raises InvalidRequest."""
    try:
        content = json.dumps(source.content, ensure_ascii=False, allow_nan=False)
    except RecursionError:
        raise GrammarTooComplex(
            "the schema is nested too deeply", param=source.param, hint=SIMPLIFY_HINT
        ) from None
    except (TypeError, ValueError) as e:
        raise InvalidRequest(f"the schema is not valid JSON: {e}", param=source.param) from e
    return msgspec.structs.replace(source, content=content)


def _encode(request: GrammarRequest, param: str | None) -> bytes:
    try:
        return encode(request)
    except UnicodeEncodeError as e:
        raise InvalidRequest(
            "schemas and grammars must be valid Unicode, without lone surrogates", param=param
        ) from e
