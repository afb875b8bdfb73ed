"""Greedy answers through llama.cpp, scored on held-out phrases and hand-written probes.

Checks first that llama.cpp splits text into the tokens that training used.
"""

from __future__ import annotations

import argparse
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

from chat import render
from data import conversations, questions
from llama_cpp import Llama
from probes import COMMANDS, QUESTIONS, TOOLS
from tokenizers import Tokenizer

CALL = re.compile(r"<tool_call>\n(.*?)\n</tool_call>", re.DOTALL)
STRINGS = ("Grüße aus Köln", "naïve café 12345", "日本語 テスト", "  two  spaces\n\n\nlines\t",
           "I'LL don't we've", "emoji 🙂🚀", "x=1;y+=2//3",
           "a\r\nb", "     def f(x):\n        return x\n", "<|im_start|>user\nhi<|im_end|>\n",
           "{\"a\": [1, 2.5, null]}", "½ ² ٣", "…—“quoted”")  # fmt: skip


def check_tokens(model: Llama, tokenizer: Tokenizer, count: int) -> int:
    """How many texts the two tokenizers split differently (none may)."""
    texts = [render(c.messages, c.declared(), generate=False) for c in conversations(77, count)] + list(
        STRINGS
    )
    different = 0
    for text in texts:
        mine = tokenizer.encode(text, add_special_tokens=False).ids
        if mine != model.tokenize(text.encode(), add_bos=False, special=True):
            different += 1
            print("tokens differ:", repr(text[:80]))
    print(f"{len(texts)} texts tokenized, {different} differ")
    return different


def answer(
    model: Llama, messages: list[dict[str, Any]], tools: list[dict[str, Any]] | None, limit: int = 160
) -> str:
    """The greedy answer, with the markup of its calls."""
    prompt = model.tokenize(render(messages, tools, generate=True).encode(), add_bos=False, special=True)
    model.reset()
    said: list[int] = []
    for token in model.generate(prompt, temp=0.0, top_k=1, repeat_penalty=1.0):
        if token == model.token_eos() or len(said) == limit:
            break
        said.append(token)
    return model.detokenize(said, special=True).decode(errors="replace")


def calls_in(text: str) -> list[Any]:
    try:
        return [json.loads(found) for found in CALL.findall(text)]
    except ValueError:
        return ["invalid JSON"]


def expected(message: dict[str, Any]) -> tuple[list[Any], str]:
    return [c["function"] for c in message.get("tool_calls", [])], message["content"] or ""


def held_out_scores(model: Llama, count: int, verbose: bool) -> None:
    """Exact calls and exact sentences, by kind of turn."""
    right, total = Counter[str](), Counter[str]()
    for chat in questions(55, count):
        calls, text = expected(chat.messages[-1])
        said = answer(model, chat.messages[:-1], chat.declared())
        good = calls_in(said) == calls if calls else said == text
        total[chat.kind] += 1
        right[chat.kind] += good
        if verbose and not good:
            print(
                f"[{chat.kind}] {chat.messages[-2]['content']!r}\n   wanted {calls or text}\n   said   {said!r}"
            )
    for kind in sorted(total):
        print(f"held-out {kind}: {right[kind]}/{total[kind]} = {right[kind] / total[kind]:.1%}")


def probe_scores(model: Llama, verbose: bool) -> None:
    right = 0
    for text, name, arguments in COMMANDS:
        said = answer(model, [{"role": "user", "content": text}], TOOLS)
        good = calls_in(said) == ([{"name": name, "arguments": arguments}] if name else [])
        right += good
        if verbose:
            print("ok " if good else "BAD", text, "->", said.replace("\n", " "))
    print(f"probe commands: {right}/{len(COMMANDS)}")
    right = 0
    for text, words in QUESTIONS:
        said = answer(model, [{"role": "user", "content": text}], None)
        good = any(word in said for word in words)
        right += good
        if verbose:
            print("ok " if good else "BAD", text, "->", said)
    print(f"probe questions: {right}/{len(QUESTIONS)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("--tokenizer", type=Path, help="tokenizer.json to compare llama.cpp's tokens with")
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--verbose", action="store_true")
    options = parser.parse_args()
    model = Llama(str(options.model), n_ctx=2048, n_threads=1, verbose=False)
    if options.tokenizer and check_tokens(model, Tokenizer.from_file(str(options.tokenizer)), 300):
        raise SystemExit("llama.cpp and the training disagree on tokens")
    held_out_scores(model, options.count, options.verbose)
    probe_scores(model, options.verbose)


if __name__ == "__main__":
    main()
