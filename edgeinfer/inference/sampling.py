"""The sampling parameters of a request. Plain data: the daemon imports this, and it never loads numpy."""

from __future__ import annotations

import msgspec


class SamplingParams(msgspec.Struct, frozen=True, omit_defaults=True):
    """The sampling of one request, already checked and with every default filled in.

    The chain is: penalties and `logit_bias` on the raw logits, then temperature, top_k, typical_p, top_p, min_p.
    Logprobs come from the raw logits, before the chain.

    Attributes:
        max_tokens: limit of the answer's length; None is up to the end of the context.
        temperature: 0 is greedy (argmax), and the filters below do not matter.
        top_k: keep the k most likely tokens; 0 is all.
        typical_p: keep the tokens whose surprise is nearest the expected one, until their probabilities exceed p
            (locally typical sampling, Meister et al. 2022; llama.cpp's `typ_p`); 1 is all.
        top_p: keep the smallest set of tokens whose probabilities add up to p; 1 is all.
        min_p: drop tokens less likely than min_p times the most likely one; 0 is none.
        repeat_penalty: divide positive (multiply negative) logits of the last `repeat_last_n` tokens,
            including the prompt's; 1 is off.
        repeat_last_n: how far back `repeat_penalty` looks; -1 is the whole sequence, 0 is off.
        presence_penalty: subtracted once from the logit of each token already produced (OpenAI's).
        frequency_penalty: subtracted as many times as the token was produced (OpenAI's).
        logit_bias: added to the logits of these token ids.
        seed: fixes the random draws; None lets the engine pick one.
        stop: texts that end the answer and are not included in it.
        ignore_eos: the model's end tokens do not end the answer.
        logprobs: None is off; k returns the chosen token's logprob and the k most likely tokens.
        prompt_progress: report before the first token how much of the prompt has been computed.
        prediction: a text that the answer is expected to repeat in part (OpenAI's); only its speed depends on it.
    """

    max_tokens: int | None = None
    temperature: float = 0.7
    top_k: int = 40
    typical_p: float = 1.0
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
    prompt_progress: bool = False
    prediction: str = ""
