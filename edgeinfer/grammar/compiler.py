"""The daemon's end of the grammar process."""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict

import msgspec

from edgeinfer.errors import GrammarTooComplex, InvalidRequest, revive
from edgeinfer.grammar.limits import MAX_SOURCE, MAX_TEXT, MEMORY
from edgeinfer.grammar.protocol import MAX_FRAME, Job, Outcome
from edgeinfer.grammar.source import Compiled, Grammar, Part
from edgeinfer.ipc.child_client import Broke, Child, TookTooLong
from edgeinfer.ipc.child_main import frame

HINT = "use a smaller schema or grammar"


class Compiler:
    """Compiles callers' grammars and checks answers in one child process, started at the first call and kept.

    A schema is an attacker's program: it can ask for more time and memory than there is. Calls take turns; one
    that exceeds `timeout` seconds, or breaks the process, fails alone.
    """

    KEEP = 64
    """Compiled grammars that are remembered, so long as their texts come to no more than MAX_TEXT bytes."""

    def __init__(self, timeout: float = 2.0) -> None:
        self._timeout = timeout
        self._child = Child("edgeinfer.grammar.process", Outcome, MAX_FRAME, timeout, noun="grammar")
        self._compiled: OrderedDict[bytes, Compiled] = OrderedDict()

    async def compile(self, grammar: Grammar) -> Compiled:
        """What the worker's matcher takes.

        Raises:
            InvalidRequest: a part is not what its kind says; UnsupportedSchema: it cannot be enforced;
                GrammarTooComplex: a limit was exceeded. `param` is the part's.
            UnsupportedParameter: this platform has no llguidance.
            ShuttingDown: the compiler was closed.
        """
        param = grammar.parts[0].param if grammar.parts else None
        request = _request(Job(self._timeout, grammar=_portable(grammar)), param)
        if len(request) > MAX_SOURCE:
            raise GrammarTooComplex(
                f"schemas and grammars are limited to {MAX_SOURCE >> 10} KiB", param=param, hint=HINT
            )
        key = hashlib.sha256(request).digest()
        compiled = self._compiled.get(key)
        if compiled is None:
            outcome = await self._ask(request, param, GrammarTooComplex)
            assert outcome.compiled is not None
            compiled = outcome.compiled
            self._keep(key, compiled)
        else:
            self._compiled.move_to_end(key)
        return compiled

    async def violation(self, part: Part, text: str) -> str | None:
        """What is wrong with `text` as an answer under a JSON schema: None, or a sentence with the place.

        Raises:
            InvalidRequest: the check needs more time or memory than there is; or as `compile`.
        """
        request = _request(Job(self._timeout, part=_portable_part(part), text=text), part.param)
        return (await self._ask(request, part.param, InvalidRequest)).violation

    async def close(self) -> None:
        """End the process. Calls under way, waiting or yet to come raise ShuttingDown."""
        await self._child.close()

    async def _ask(self, request: bytes, param: str | None, blame: type[InvalidRequest]) -> Outcome:
        try:
            outcome = await self._child.ask(request)
        except TookTooLong:
            raise blame(
                f"the grammar takes longer than {self._timeout:g} seconds to process", param=param, hint=HINT
            ) from None
        except Broke as e:
            raise blame(
                f"the grammar needs more than {MEMORY >> 20} MiB of memory, or nests too deep",
                param=param,
                hint=HINT,
            ) from e
        if outcome.error is not None:
            raise revive(outcome.error)
        return outcome

    def _keep(self, key: bytes, compiled: Compiled) -> None:
        self._compiled[key] = compiled
        while len(self._compiled) > self.KEEP or sum(len(c.text) for c in self._compiled.values()) > MAX_TEXT:
            self._compiled.popitem(last=False)


def _portable(grammar: Grammar) -> Grammar:
    return Grammar(grammar.lark, tuple(_portable_part(part) for part in grammar.parts))


def _portable_part(part: Part) -> Part:
    """The part with its source as JSON text. Raises InvalidRequest."""
    try:
        source = json.dumps(part.source, ensure_ascii=False, allow_nan=False)
    except RecursionError:
        raise GrammarTooComplex("it nests too deep", param=part.param, hint=HINT) from None
    except (TypeError, ValueError) as e:
        raise InvalidRequest(f"it is no JSON: {e}", param=part.param) from e
    return msgspec.structs.replace(part, source=source)


def _request(job: Job, param: str | None) -> bytes:
    try:
        return frame(job)
    except UnicodeEncodeError as e:
        raise InvalidRequest("half a surrogate pair is no text", param=param) from e
