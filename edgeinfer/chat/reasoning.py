"""The thoughts of a model before its answer: the tags around them, and whether there are any."""

from __future__ import annotations

from typing import Literal

import msgspec

from edgeinfer.chat.events import Reasoning
from edgeinfer.chat.lark import ANY, pattern
from edgeinfer.chat.scanner import Scanner, Steps

State = Literal["none", "open", "possible", "closed"]


class ReasoningTags(msgspec.Struct, frozen=True):
    """The tags around thoughts. Models write `open_end` and `close_end` right behind them.

    Attributes:
        sign: another text that only templates of models with these tags have.
    """

    open: str
    close: str
    open_end: str = ""
    close_end: str = ""
    sign: str = ""


REASONING_TAGS = (
    ReasoningTags("<think>", "</think>", "\n", "\n\n"),
    ReasoningTags("[THINK]", "[/THINK]"),
    ReasoningTags("<seed:think>", "</seed:think>", "", "\n"),
    ReasoningTags("<|channel>thought", "<channel|>", "\n"),
    ReasoningTags("<|inner_prefix|>", "<|inner_suffix|>"),
    ReasoningTags("<|START_THINKING|>", "<|END_THINKING|>"),
    ReasoningTags(
        "<|channel|>analysis<|message|>", "<|end|><|start|>assistant", sign="<|channel|>analysis<|message|>"
    ),
)
"""Every known pair. A template that mentions the closing tag of a pair, or its sign, belongs to a model that may use it."""


THINKING_SIGNS = ("reasoning_content", "<think", "<|think")
"""Texts in templates of models that think: the field with earlier thoughts, and tags."""


class ReasoningFormat(msgspec.Struct, frozen=True):
    """The beginning of an answer: with thoughts or without.

    Attributes:
        state: "none": this model knows no tags; "open": the prompt ends within thoughts; "possible": the
            model may open them itself; "closed": it will not any more.
        tags: the model's, if it knows any.
    """

    state: State = "none"
    tags: ReasoningTags = REASONING_TAGS[0]

    @property
    def closing(self) -> str:
        """The text that ends thoughts which have reached their limit."""
        return ("\n" if self.tags.open_end else "") + self.tags.close + self.tags.close_end

    @property
    def skipped(self) -> str:
        """The text at the end of a prompt that keeps the answer from thinking."""
        if self.state == "open":
            return self.closing
        if self.state == "possible":
            return self.tags.open + self.tags.open_end + self.closing
        return ""

    def closed(self) -> ReasoningFormat:
        """The format of an answer to a prompt that ends with `skipped`."""
        return ReasoningFormat("none" if self.state == "none" else "closed", self.tags)

    def rules(self) -> tuple[str, ...]:
        """Rules of a grammar; there is one called `thoughts` if the state is open or possible."""
        end = f"{ANY}{pattern(self.tags.close)}/"
        if self.state == "open":
            return (f"thoughts[lazy]: /{end}",)
        # White space before the tag is bounded: a small model that may put in more puts in nothing else.
        return (rf"thoughts[lazy]: /\n{{0,2}}{pattern(self.tags.open)}{end}",)

    def parse(self, scanner: Scanner) -> Steps[None]:
        """Read the thoughts, if there are any, and the white space around them."""
        if not (self.state == "open" or (self.state == "possible" and (yield from self._opened(scanner)))):
            return
        yield from scanner.space()
        while piece := (yield from scanner.before(self.tags.close)):
            yield Reasoning(piece)
        _, _, scanner.text = scanner.text.partition(self.tags.close)
        yield from scanner.space()

    def _opened(self, scanner: Scanner) -> Steps[bool]:
        while True:
            text = scanner.text.lstrip()
            if text.startswith(self.tags.open):
                scanner.text = text.removeprefix(self.tags.open)
                return True
            if scanner.final or not self.tags.open.startswith(text):
                return False
            yield None


def detect_reasoning(source: str, prompt: str) -> ReasoningFormat:
    """The beginning of an answer to `prompt`, which the template with this source rendered."""
    end = prompt.rstrip()
    for tags in REASONING_TAGS:
        if tags.close in source or (tags.sign and tags.sign in source):
            if end.endswith(tags.open):
                return ReasoningFormat("open", tags)
            return ReasoningFormat("closed" if end.endswith(tags.close) else "possible", tags)
    return ReasoningFormat()


def has_unknown_reasoning(source: str) -> bool:
    """True if a template is that of a model that thinks, in tags that are not known here."""
    return detect_reasoning(source, "").state == "none" and any(sign in source for sign in THINKING_SIGNS)


def detect_continued_reasoning(source: str, content: str) -> ReasoningFormat:
    """The continuation of an answer whose beginning, `content`, the caller wrote."""
    reasoning = detect_reasoning(source, "")
    opened, closed = content.rfind(reasoning.tags.open), content.rfind(reasoning.tags.close)
    if reasoning.state == "none" or not content:
        return reasoning
    return ReasoningFormat("open" if opened > closed else "closed", reasoning.tags)
