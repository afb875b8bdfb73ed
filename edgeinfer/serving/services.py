"""What all models share: the processes that render templates and compile grammars, and the metrics."""

from __future__ import annotations

from edgeinfer.chat.template_renderer import TemplateRenderer
from edgeinfer.grammar.compiler import GrammarCompiler
from edgeinfer.metrics import Metrics
from edgeinfer.serving.queue import FairQueue
from edgeinfer.settings import Settings

MAX_SHORT_JOBS = 128
"""Requests that may wait to have tokens counted or a grammar compiled, which is done one by one."""


class Services:
    """Shared by all models: the processes that render templates and compile grammars, and the metrics."""

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self.renderer = TemplateRenderer(settings.template_timeout)
        self.compiler = GrammarCompiler(settings.grammar_timeout)
        # One caller keeps one of the processes busy at the most, and another one's call finds the other free.
        self.renderings = FairQueue(lambda: TemplateRenderer.PROCESSES, MAX_SHORT_JOBS, max_each=1)
        self.compilations = FairQueue(lambda: GrammarCompiler.PROCESSES, MAX_SHORT_JOBS, max_each=1)
        self.metrics = metrics

    def rest(self) -> None:
        """End the processes until they are needed again, as no model is loaded: they take 40 MB."""
        self.renderer.rest()
        self.compiler.rest()

    async def aclose(self) -> None:
        await self.renderer.close()
        await self.compiler.close()
