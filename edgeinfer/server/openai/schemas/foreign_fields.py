"""Fields that clients of OpenAI, llama-server, Ollama, vLLM and OpenRouter send, and that we do not have.

A field that names a resource or a default has no effect on an answer, and is accepted. One that asks for something we
do not do is refused by name: its caller would take the answer for what was asked.
"""

from __future__ import annotations

from collections.abc import Mapping

from edgeinfer.server.http.request_model import Harmless

ACCEPTED = frozenset(
    {
        # bookkeeping, and what might make an answer faster
        "metadata",
        "prompt_cache_options",
        "prompt_cache_retention",
        "safety_identifier",
        "store",
        "usage",
        "user",
        # resources, which are settings here
        "f16_kv",
        "id_slot",
        "keep_alive",
        "low_vram",
        "main_gpu",
        "n_keep",
        "num_batch",
        "num_gpu",
        "num_keep",
        "num_thread",
        "numa",
        "priority",
        "service_tier",
        "provider",
        "guided_decoding_backend",
        "ttl",
        "use_mlock",
        "use_mmap",
        # more to know about the answer, which never changes it
        "timings_per_token",
        # details of what is off
        "dry_allowed_length",
        "dry_base",
        "dry_penalty_last_n",
        "dry_sequence_breakers",
        "dynatemp_exponent",
        "mirostat_eta",
        "mirostat_tau",
        "xtc_threshold",
    }
)
"""Fields without an effect, whatever their value."""

UNSUPPORTED: Mapping[str, Harmless] = {
    # of OpenAI
    "audio": (),
    "best_of": (1,),
    "modalities": (["text"],),
    "moderation": (),
    "web_search_options": (),
    # of llama-server and Ollama
    "cache_prompt": (True,),
    "chat_template": (),
    "dry_multiplier": (0, 0.0),
    "dynatemp_range": (0, 0.0),
    "lora": ([],),
    "min_keep": (0, 1),
    "mirostat": (0,),
    "n_probs": (0,),
    "parse_tool_calls": (True,),
    "penalize_newline": (False,),
    "post_sampling_probs": (False,),
    "reasoning_format": ("auto", "deepseek"),
    "reasoning_in_content": (False,),
    "return_tokens": (False,),
    "tfs_z": (1, 1.0),
    "top_n_sigma": (-1, -1.0, 0, 0.0),
    "xtc_probability": (0, 0.0),
    # of vLLM and OpenRouter
    "bad_words": ([],),
    "detokenize": (True,),
    "echo": (False,),
    "extra_body": ({},),
    "guided_whitespace_pattern": (),
    "include_reasoning": (True,),
    "include_stop_str_in_output": (False,),
    "length_penalty": (1, 1.0),
    "min_tokens": (0,),
    "plugins": ([],),
    "prompt_logprobs": (0, False),
    "repetition_detection": (),
    "return_token_ids": (False,),
    "return_tokens_as_token_ids": (False,),
    "skip_special_tokens": (True,),
    "spaces_between_special_tokens": (True,),
    "stop_token_ids": ([],),
    "top_a": (0, 0.0),
    "transforms": ([],),
    "truncate_prompt_tokens": (),
    "use_beam_search": (False,),
}
"""Fields that are refused by name, and the values of each that ask for nothing."""

SYNONYMS: Mapping[str, str] = {
    "context_length": "num_ctx",
    "max_new_tokens": "max_tokens",
    "max_output_tokens": "max_tokens",
    "n_ctx": "num_ctx",
    "n_predict": "max_tokens",
    "num_predict": "max_tokens",
    "random_seed": "seed",
    "repetition_penalty": "repeat_penalty",
    "stop_sequences": "stop",
    "typ_p": "typical_p",
}
"""Other names of our fields."""

EMBEDDING_ACCEPTED = ACCEPTED | {"prompt_cache_key", "truncate"}
"""An input that is too long is refused, never truncated; all others are whole with any value of `truncate`."""

EMBEDDING_UNSUPPORTED: Mapping[str, Harmless] = {
    "add_special_tokens": (True,),
    "embd_normalize": (2,),
    "embedding_types": (["float"],),
    "input_type": (),
    "normalize": (True,),
    "output_dtype": ("float",),
    "task": (),
}
"""Fields of other servers' embeddings."""

HINTS: Mapping[str, str] = {
    "best_of": "use n, and choose",
    "chat_template": "the model's own is used; chat_template_kwargs sets its variables",
    "echo": "POST /v1/completions can",
    "extra_body": "its fields belong into the request itself",
    "guided_whitespace_pattern": "JSON is written on one line",
    "input_type": "write the model's prefix into the input",
    "include_reasoning": "leave the field reasoning_content out of what you show",
    "mirostat": "use temperature, top_p or min_p",
    "n_probs": "use logprobs and top_logprobs",
    "reasoning_format": "thoughts are in reasoning_content",
    "stop_token_ids": "use stop, which takes texts",
    "task": "write the model's prefix into the input",
    "tfs_z": "use typical_p or min_p",
    "web_search_options": "offer a tool that searches",
}
"""What to do instead."""
