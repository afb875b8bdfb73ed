"""Greedy answers, scored on what training never saw and on hand-written probes.

By default through `edgeinfer serve` on the given model and its HTTP API, tools in the
request, calls constrained as the API does it; `--unconstrained` asks llama.cpp alone,
`--url` a daemon that already runs. With a vocabulary it checks first that llama.cpp
splits text into the tokens that training used.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from beyond import NO_TOOLS, NONE_FITS, TOO_SMALL
from chat import render
from data import by_hand, chats, conversations, known, refusals, strings, unseen
from jsonschema import Draft202012Validator
from probes import COMMANDS, NEW_COMMANDS, QUESTIONS, TOOLS
from programs import holes
from speak import Alone, Answer, Served, Speaker, daemon
from turns import Chat

SEED = 55
EXAM = Path(__file__).with_name("exam.json")
DECLINED = (NO_TOOLS, NONE_FITS, TOO_SMALL)
STRINGS = ("Grüße aus Köln", "naïve café 12345", "日本語 テスト", "  two  spaces\n\n\nlines\t",
           "I'LL don't we've", "emoji 🙂🚀", "x=1;y+=2//3",
           "a\r\nb", "     def f(x):\n        return x\n", "<|im_start|>user\nhi<|im_end|>\n",
           "{\"a\": [1, 2.5, null]}", "½ ² ٣", "…—“quoted”")  # fmt: skip


@dataclass
class Score:
    """One line of the result, with what went wrong."""

    name: str
    goal: float = 0.0
    right: int = 0
    total: int = 0
    wrong: list[str] = field(default_factory=list)

    def add(self, good: bool, what: str) -> None:
        self.right += good
        self.total += 1
        if not good:
            self.wrong.append(what)

    def __str__(self) -> str:
        share = self.right / self.total if self.total else 1.0
        goal = f"  (wanted: {self.goal:.0%})" if self.goal else ""
        return f"{self.name:52} {self.right:4} of {self.total:4}  {share:6.1%}{goal}"


class Evaluation:
    """Asks, and judges every call against its schema along the way."""

    def __init__(self, speaker: Speaker) -> None:
        self.speaker = speaker
        self.valid = Score("Calls valid by their tools' schemas", 1.0)

    def ask(self, messages: list[dict[str, Any]], tools: list[dict[str, Any]] | None) -> Answer:
        answer = self.speaker.answer(messages, tools)
        for call in answer.calls:
            self.valid.add(valid(call, tools or []), f"{messages[-1]['content']!r}: {call}")
        return answer

    def held_out(
        self, score: Score, drawn: Iterator[Chat], good: Callable[[Answer, dict[str, Any]], bool]
    ) -> Score:
        for chat in drawn:
            wanted = chat.messages[-1]
            answer = self.ask(chat.messages[:-1], chat.declared())
            calls = [c["function"] for c in wanted.get("tool_calls", [])]
            what = f"{chat.messages[-2]['content']!r}\n   wanted {calls or wanted['content']}\n   said   {answer.calls or answer.text!r}"
            score.add(good(answer, wanted), what)
        return score

    def hand_written(self) -> Iterator[Score]:
        """The commands of exam.json: all, by kind, and those that no tool fits."""
        scores: dict[str, Score] = {}
        every, none = (
            Score("Hand-written commands: all", 0.85),
            Score("Hand-written commands that no tool fits: declined", 0.95),
        )
        for tools in json.loads(EXAM.read_text()):
            kind = scores.setdefault(tools["kind"], Score(f"Hand-written commands: {tools['kind']}", 0.75))
            declared = [{"type": "function", "function": tool} for tool in tools["tools"]]
            for command in tools["commands"]:
                answer = self.ask([{"role": "user", "content": command["say"]}], declared)
                good = answer.calls == ([command["call"]] if command["call"] else [])
                what = f"{command['say']!r}\n   wanted {command['call']}\n   said   {answer.calls or answer.text!r}"
                for score in (every, kind) if command["call"] else (every, kind, none):
                    score.add(good, what)
        yield from (every, *scores.values(), none)

    def copies(self, count: int) -> Iterator[Score]:
        """Strings without a meaning, which must come back letter by letter, whichever tool is called with them."""
        copied, called = (
            Score("Random strings: copied exactly", 0.95),
            Score("Random strings: in the right call"),
        )
        for text, tools, call in strings(SEED, count):
            answer = self.ask([{"role": "user", "content": text}], tools)
            (string,) = call["arguments"].values()
            values = [list(c.get("arguments", {}).values()) for c in answer.calls]
            copied.add(values == [[string]], f"{text!r}: {answer.calls or answer.text!r}")
            called.add(answer.calls == [call], f"{text!r}: {answer.calls or answer.text!r}")
        yield from (copied, called)

    def four(self, count: int) -> Iterator[Score]:
        """The figures that the model is to be judged by."""
        yield self.held_out(
            Score("Known tools, unseen phrases: exact calls", 0.97), known(SEED, count), exact
        )
        yield self.held_out(Score("Unseen tools: exact calls", 0.85), unseen(SEED, count), exact)
        yield self.held_out(Score("Fields kept from training: exact calls"), by_hand(SEED, count), exact)
        yield self.held_out(
            Score("No tool fits, or none given: declined", 0.95), refusals(SEED, count), declined
        )
        yield self.valid

    def others(self, count: int) -> Iterator[Score]:
        yield self.held_out(
            Score("Questions about it and edgeinfer: exact answers"), chats(SEED, count), same_text
        )
        yield self.commands("Hand-written commands to six known tools", COMMANDS)
        yield self.commands("Hand-written commands to unknown tools", NEW_COMMANDS)
        score = Score("Hand-written questions: the right key words")
        for text, words in QUESTIONS:
            said = self.ask([{"role": "user", "content": text}], None).text
            score.add(any(word in said for word in words), f"{text!r}: {said!r}")
        yield score
        score = Score("Holes in short Python: exactly filled")
        for prefix, middle, suffix in holes(SEED, count):
            said = self.speaker.fill(prefix, suffix)
            score.add(said == middle, f"{prefix}<HOLE>{suffix}\n   wanted {middle!r}\n   said   {said!r}")
        yield score

    def commands(self, name: str, probes: tuple[Any, ...]) -> Score:
        score = Score(name)
        for text, tool, arguments, *tools in probes:
            answer = self.ask([{"role": "user", "content": text}], tools[0] if tools else TOOLS)
            wanted = [{"name": tool, "arguments": arguments}] if tool else []
            score.add(answer.calls == wanted, f"{text!r}: {answer.calls or answer.text!r}")
        return score


def exact(answer: Answer, wanted: dict[str, Any]) -> bool:
    return answer.calls == [c["function"] for c in wanted["tool_calls"]]


def declined(answer: Answer, _: dict[str, Any]) -> bool:
    return not answer.calls and answer.text in DECLINED


def same_text(answer: Answer, wanted: dict[str, Any]) -> bool:
    return not answer.calls and answer.text == wanted["content"]


def valid(call: dict[str, Any], tools: list[dict[str, Any]]) -> bool:
    for tool in tools:
        if tool["function"]["name"] == call.get("name"):
            return Draft202012Validator(tool["function"].get("parameters", {})).is_valid(
                call.get("arguments")
            )
    return False


def check_tokens(path: Path, vocabulary: Path, count: int) -> None:
    """Ends the program where the two tokenizers split a text differently."""
    from llama_cpp import Llama
    from tokenizers import Tokenizer

    model = Llama(str(path), n_ctx=256, vocab_only=True, verbose=False)
    tokenizer = Tokenizer.from_file(str(vocabulary))
    texts = [render(c.messages, c.declared(), generate=False) for c in conversations(77, count)]
    for text in [*texts, *STRINGS]:
        mine = tokenizer.encode(text, add_special_tokens=False).ids
        if mine != model.tokenize(text.encode(), add_bos=False, special=True):
            raise SystemExit(f"llama.cpp and the training disagree on tokens: {text!r}")
    print(f"{count + len(STRINGS)} texts tokenized alike")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("--tokenizer", type=Path, help="tokenizer.json to compare llama.cpp's tokens with")
    parser.add_argument("--count", type=int, default=200, help="single turns of each kind")
    parser.add_argument("--unconstrained", action="store_true", help="through llama.cpp alone")
    parser.add_argument("--url", help="a daemon that serves the model already")
    parser.add_argument("--json", type=Path, help="write the figures there, too")
    parser.add_argument("--quick", action="store_true", help="the hand-written commands and the copies alone")
    parser.add_argument("--verbose", action="store_true", help="show what went wrong")
    options = parser.parse_args()
    if options.tokenizer:
        check_tokens(options.model, options.tokenizer, 300)
    alone = options.unconstrained
    with nullcontext(options.url) if alone or options.url else daemon(options.model) as url:
        evaluation = Evaluation(Alone(options.model) if alone else Served(url))
        figures = [*evaluation.hand_written(), *evaluation.copies(options.count)]
        if not options.quick:
            figures += [*evaluation.others(options.count), *evaluation.four(options.count)]
    for score in figures:
        for what in score.wrong if options.verbose else ():
            print(f"[{score.name}] {what}")
    print(*figures, sep="\n")
    if options.json:
        options.json.write_text(json.dumps({s.name: [s.right, s.total] for s in figures}, indent=1) + "\n")


if __name__ == "__main__":
    main()
