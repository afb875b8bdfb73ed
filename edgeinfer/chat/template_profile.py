"""The properties of a chat template, detected once and remembered."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

from edgeinfer.chat.adaptation import detection
from edgeinfer.chat.capabilities import Capabilities
from edgeinfer.chat.control_tokens import ControlTokens
from edgeinfer.chat.reasoning import has_unknown_reasoning
from edgeinfer.chat.template_guard import TemplateGuard
from edgeinfer.chat.template_limits import template_limits
from edgeinfer.chat.template_renderer import TemplateRenderer
from edgeinfer.chat.thinking_switch import default_variables
from edgeinfer.chat.tools.detect import detect_tool_format
from edgeinfer.chat.tools.tool_format import ToolFormat
from edgeinfer.errors import InvalidRequest, TemplateError
from edgeinfer.inference.model_limits import MAX_TEMPLATE
from edgeinfer.inference.types import ModelInfo

logger = logging.getLogger(__name__)

MAX_PROFILES = 16
"""Profiles that are remembered; a request can bring a template of its own."""

MAX_DETECTION = 10
"""Seconds that trying a template may take; a real one takes hundredths, and others wait for their turn."""


class TemplateProfile(NamedTuple):
    """The properties of a template, and the tool format of the model behind it.

    `variables` are given to it unless a request sets them.
    """

    capabilities: Capabilities
    guard: TemplateGuard
    tool_format: ToolFormat
    variables: Mapping[str, bool]


class TemplateProfiles:
    """The profiles of the templates that one model is used with."""

    def __init__(self, info: ModelInfo, renderer: TemplateRenderer, tool_format: str | None = None) -> None:
        """`tool_format` names the model's, where its template does not show it."""
        self._info = info
        self._renderer = renderer
        self._tool_format = tool_format
        self._tokens: ControlTokens | None = None
        self._profiles: dict[str, TemplateProfile] = {}
        self._detecting = asyncio.Lock()

    async def get(self, source: str) -> TemplateProfile:
        """The profile of a template.

        Raises:
            InvalidRequest: it is too long.
            TemplateError: detecting it exceeds a limit.
        """
        if profile := self._profiles.get(source):
            return profile
        async with self._detecting:  # a request may come while the model is warmed up
            profile = self._profiles.get(source)
            if profile is None:
                profile = await self._detect(source)
                if len(self._profiles) >= MAX_PROFILES:
                    self._profiles.clear()
                self._profiles[source] = profile
        return profile

    def known(self, source: str) -> TemplateProfile | None:
        """The profile of a template, if it has been detected."""
        return self._profiles.get(source)

    async def _detect(self, source: str) -> TemplateProfile:
        if len(source) > MAX_TEMPLATE:
            raise InvalidRequest(
                f"the chat template has {len(source)} characters, more than {MAX_TEMPLATE}",
                param="chat_template",
            )
        tool_format = detect_tool_format(source, self._tool_format)
        steps = detection(tool_format)
        step = next(steps)
        deadline = time.monotonic() + MAX_DETECTION
        while not isinstance(step, Capabilities):
            if time.monotonic() > deadline:
                raise TemplateError(f"trying the chat template took longer than {MAX_DETECTION} seconds")
            contexts = [with_tokens(context, self._info) for context in step]
            step = steps.send(await self._renderer.render_each(source, contexts))
        if source in self._info.chat_templates.values():
            _log(self._info.name, source, step)
        if self._tokens is None:  # thousands take a while
            self._tokens = await asyncio.to_thread(ControlTokens, self._info.control_tokens)
        findings = await self._renderer.inspect(source, self._info.control_tokens)
        guard = TemplateGuard(self._tokens, source, findings)
        return TemplateProfile(step, guard, tool_format, default_variables(source))


def _log(name: str, source: str, capabilities: Capabilities) -> None:
    if limits := template_limits(source, capabilities):
        logger.info("conversations are adapted to the chat template of %s: %s", name, "; ".join(limits))
    if capabilities.unknown_calls:
        logger.warning(
            "%s writes tool calls in a form that edgeinfer does not know; it is told another one, which it was not "
            "trained on, so expect mistakes",
            name,
        )
    if has_unknown_reasoning(source):
        logger.warning(
            "%s writes its thoughts in a form that edgeinfer does not know; they stand in its answers", name
        )


def with_tokens(context: dict[str, Any], info: ModelInfo) -> dict[str, Any]:
    """A context with the model's own BOS and EOS."""
    return {**context, "bos_token": info.bos, "eos_token": info.eos}
