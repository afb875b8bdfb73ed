"""What a model thinks before it answers: the tags around it, and whether it does."""

from __future__ import annotations

from typing import Literal

import msgspec

from edgeinfer.chat.events import Reasoning
from edgeinfer.chat.lark import ANY, pattern
from edgeinfer.chat.scanner import Scanner, Steps

State = Literal["none", "open", "possible", "closed"]


class Tags(msgspec.Struct, frozen=True):
    """What stands around thoughts. `open_end` and `close_end` are what models put right behind the tags."""

    open: str
    close: str
    open_end: str = ""
    close_end: str = ""


TAGS = (
    Tags("<think>", "</think>", "\n", "\n\n"),
    Tags("[THINK]", "[/THINK]"),
    Tags("<seed:think>", "</seed:think>", "", "\n"),
    Tags("<|channel>thought", "<channel|>", "\n"),
    Tags("<|inner_prefix|>", "<|inner_suffix|>"),
    Tags("<|START_THINKING|>", "<|END_THINKING|>"),
)
"""Every pair we know. A template that mentions the second of a pair belongs to a model that may think so."""


class Thinking(msgspec.Struct, frozen=True):
    """Whether one answer begins with thoughts.

    Attributes:
        state: "none": this model knows no tags; "open": the prompt ends within thoughts; "possible": the
            model may open them itself; "closed": it will not any more.
        tags: of the model, if it knows any.
    """

    state: State = "none"
    tags: Tags = TAGS[0]

    @property
    def end(self) -> str:
        """What to put at the end of thoughts that went on for long enough."""
        return ("\n" if self.tags.open_end else "") + self.tags.close + self.tags.close_end

    @property
    def off(self) -> str:
        """What to put at the end of the prompt, so that there will be no thoughts."""
        if self.state == "open":
            return self.end
        if self.state == "possible":
            return self.tags.open + self.tags.open_end + self.end
        return ""

    def stopped(self) -> Thinking:
        """After `off`."""
        return Thinking("none" if self.state == "none" else "closed", self.tags)

    def rules(self) -> tuple[str, ...]:
        """Rules of a grammar; that of `thoughts` is there if the state is open or possible."""
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


def detect_reasoning(source: str, prompt: str) -> Thinking:
    """Of an answer to a prompt, which the template with this source rendered."""
    end = prompt.rstrip()
    for tags in TAGS:
        if tags.close in source:
            if end.endswith(tags.open):
                return Thinking("open", tags)
            return Thinking("closed" if end.endswith(tags.close) else "possible", tags)
    return Thinking()


def continued(source: str, content: str) -> Thinking:
    """Of an answer whose beginning the caller wrote."""
    found = detect_reasoning(source, "")
    opened, closed = content.rfind(found.tags.open), content.rfind(found.tags.close)
    if found.state == "none" or not content:
        return found
    return Thinking("open" if opened > closed else "closed", found.tags)
