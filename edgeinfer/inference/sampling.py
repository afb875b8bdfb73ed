"""What a caller may ask of the sampler. Plain data: the daemon imports this, and it never loads numpy."""

from __future__ import annotations

import msgspec


class SamplingParams(msgspec.Struct, frozen=True, omit_defaults=True):
    """One request's sampling, already checked and with every default filled in.

    The chain is: penalties and `logit_bias` on the raw logits, then temperature, top_k, top_p, min_p.
    Logprobs are those of the raw logits, before any of it.

    Attributes:
        max_tokens: tokens to produce at most; None is up to the end of the context.
        temperature: 0 is greedy (argmax), and the truncations below do not matter.
        top_k: keep the k likeliest tokens; 0 is all.
        top_p: keep the smallest set of tokens whose probabilities reach p; 1 is all.
        min_p: drop tokens less likely than min_p times the likeliest; 0 is none.
        repeat_penalty: divide positive (multiply negative) logits of the last `repeat_last_n` tokens,
            prompt included; 1 is off.
        repeat_last_n: how far back `repeat_penalty` looks; -1 is the whole sequence, 0 is off.
        presence_penalty: subtracted once from each token already produced (OpenAI's).
        frequency_penalty: subtracted as often as the token was produced (OpenAI's).
        logit_bias: added to the logits of these token ids.
        seed: fixes the draws; None means the worker picks one.
        stop: texts that end the answer and are not part of it.
        ignore_eos: the model's end tokens do not end the answer.
        logprobs: None is off, k gives the chosen token's logprob and the k likeliest beside it.
    """

    max_tokens: int | None = None
    temperature: float = 0.7
    top_k: int = 40
    top_p: float = 0.95
    min_p: float = 0.05
    repeat_penalty: float = 1.0
    repeat_last_n: int = 64
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    logit_bias: dict[int, float] = {}
    seed: int | None = None
    stop: tuple[str, ...] = ()
    ignore_eos: bool = False
    logprobs: int | None = None
