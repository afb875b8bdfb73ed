"""Renders chat templates in a process of their own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from edgeinfer.chat.template_guard import SourceFindings
from edgeinfer.chat.template_protocol import MAX_FRAME, MEMORY, RenderOutcome, RenderRequest, RenderResponse
from edgeinfer.errors import InvalidRequest, TemplateError
from edgeinfer.ipc.child_client import ChildCrashed, ChildTimeout
from edgeinfer.ipc.child_pool import ChildPool
from edgeinfer.ipc.confinement.confinement import Confinement
from edgeinfer.ipc.framing import encode


class TemplateRenderer:
    """Renders untrusted Jinja sources in child processes, the first of which starts at the first call.

    Each renders one call at a time. A call that exceeds `timeout` seconds, or breaks the process, fails alone.
    """

    PROCESSES = ChildPool.SIZE

    def __init__(self, timeout: float = 5.0) -> None:
        self._timeout = timeout
        self._child = ChildPool(
            "edgeinfer.chat.template_process", RenderResponse, MAX_FRAME, timeout, noun="template"
        )

    async def render(self, source: str, context: dict[str, Any]) -> str:
        """Raises TemplateError: the template's own refusal, its failure, or a limit it exceeded."""
        (rendering,) = await self.render_each(source, [context])
        if rendering.text is None:
            raise TemplateError(rendering.error)
        return rendering.text

    async def render_each(self, source: str, contexts: list[dict[str, Any]]) -> list[RenderOutcome]:
        """One outcome for each context, all within one time limit.

        Raises:
            TemplateError: a limit was exceeded.
            InvalidRequest: a context cannot be sent.
            NotReady: the process was killed from outside.
            ShuttingDown: the renderer was closed.
        """
        return (await self._ask(RenderRequest(source, contexts, self._timeout))).renderings

    async def inspect(self, source: str, control_tokens: Sequence[str]) -> SourceFindings:
        """Find what in a source matters for a model with these control tokens.

        Raises:
            TemplateError: a limit was exceeded.
            ShuttingDown: the renderer was closed.
        """
        response = await self._ask(RenderRequest(source, [], self._timeout, tuple(control_tokens)))
        if response.findings is None:
            raise TemplateError(response.renderings[0].error)
        return response.findings

    async def _ask(self, request: RenderRequest) -> RenderResponse:
        try:
            frame = encode(request)
        except (UnicodeEncodeError, RecursionError, TypeError, OverflowError, ValueError) as e:
            raise InvalidRequest(f"the messages cannot be rendered: {e}", param="messages") from e
        try:
            return await self._child.ask(frame)
        except ChildTimeout:
            raise TemplateError(f"the chat template took longer than {self._timeout:g} seconds") from None
        except ChildCrashed as e:
            raise TemplateError(
                f"the chat template crashed its process, which may use {MEMORY >> 20} MiB of memory"
            ) from e

    @property
    def confinement(self) -> Confinement | None:
        """The layers that hold for the processes; None before the first start."""
        return self._child.confinement

    def rest(self) -> None:
        """End idle processes until the next call."""
        self._child.rest()

    async def close(self) -> None:
        """End the process. Calls under way, waiting or yet to come raise ShuttingDown."""
        await self._child.close()
