"""Small equivalents of templates in the wild."""

from __future__ import annotations

from typing import Any

from edgeinfer.chat.adaptation import detection
from edgeinfer.chat.capabilities import Capabilities
from edgeinfer.chat.template_process import TemplateEnvironment, answer
from edgeinfer.chat.template_protocol import RenderOutcome, RenderRequest
from edgeinfer.chat.tools.tool_format import ToolFormat
from edgeinfer.inference.types import ModelInfo

QWEN_TOKENS = ("<|im_start|>", "<|im_end|>", "<|endoftext|>", "<|object_ref_start|>", "<|repo_name|>")
QWEN = """\
{%- set head = messages[0].content if messages[0]['role'] == 'system' else 'You are helpful.' %}
{{- '<|im_start|>system\\n' + head }}
{%- if tools %}
    {{- '\\n\\n# Tools\\n<tools>' }}
    {%- for tool in tools %}
        {{- '\\n' }}{{- tool | tojson }}
    {%- endfor %}
    {{- '\\n</tools>' }}
{%- endif %}
{{- '<|im_end|>\\n' }}
{%- for message in messages %}
    {%- if message.role == 'user' or (message.role == 'system' and not loop.first) %}
        {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}
    {%- elif message.role == 'assistant' %}
        {{- '<|im_start|>assistant' }}
        {%- if message.content %}{{- '\\n' + message.content }}{%- endif %}
        {%- for call in message.tool_calls %}
            {%- set call = call.function if call.function is defined else call %}
            {{- '\\n<tool_call>\\n{"name": "' + call.name + '", "arguments": ' }}
            {{- call.arguments | tojson }}
            {{- '}\\n</tool_call>' }}
        {%- endfor %}
        {{- '<|im_end|>\\n' }}
    {%- elif message.role == 'tool' %}
        {{- '<|im_start|>user\\n<tool_response>\\n' + message.content + '\\n</tool_response><|im_end|>\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}{{- '<think>\\n\\n</think>\\n\\n' }}{%- endif %}
{%- endif %}
"""

LLAMA3_TOKENS = (
    "<|begin_of_text|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|eot_id|>",
    "<|python_tag|>",
)
LLAMA3 = """\
{{- bos_token }}
{%- if not date_string is defined %}{%- set date_string = strftime_now('%d %b %Y') %}{%- endif %}
{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content'] | trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system_message = '' %}
{%- endif %}
{{- '<|start_header_id|>system<|end_header_id|>\\n\\nToday Date: ' + date_string + '\\n\\n' }}
{{- system_message }}
{{- '<|eot_id|>' }}
{%- for message in messages %}
    {%- if 'tool_calls' in message %}
        {%- if not message.tool_calls | length == 1 %}
            {{- raise_exception('This model only supports single tool-calls at once!') }}
        {%- endif %}
        {%- set call = message.tool_calls[0].function %}
        {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n{"name": "' + call.name + '", ' }}
        {{- '"parameters": ' }}{{- call.arguments | tojson }}{{- '}<|eot_id|>' }}
    {%- elif message.role == 'tool' or message.role == 'ipython' %}
        {{- '<|start_header_id|>ipython<|end_header_id|>\\n\\n' }}{{- message.content | tojson }}{{- '<|eot_id|>' }}
    {%- else %}
        {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' }}
        {{- message['content'] | trim + '<|eot_id|>' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}
"""

R1_TOKENS = (
    "<｜begin▁of▁sentence｜>",
    "<｜end▁of▁sentence｜>",
    "<｜User｜>",
    "<｜Assistant｜>",
    "<｜tool▁sep｜>",
)
R1 = """\
{% set ns = namespace(system='') %}
{%- for message in messages %}{%- if message['role'] == 'system' %}
{% set ns.system = message['content'] %}
{%- endif %}{%- endfor %}
{{ bos_token }}{{ ns.system }}
{%- for message in messages %}
{%- if message['role'] == 'user' %}{{ '<｜User｜>' + message['content'] }}{%- endif %}
{%- if message['role'] == 'assistant' and message['content'] is none %}
{%- for tool in message['tool_calls'] %}
{{ '<｜Assistant｜>' + tool['type'] + '<｜tool▁sep｜>' + tool['function']['name'] + '\\n' -}}
{{ '```json\\n' + tool['function']['arguments'] + '\\n```' }}
{%- endfor %}
{{ '<｜end▁of▁sentence｜>' -}}
{%- endif %}
{%- if message['role'] == 'assistant' and message['content'] is not none %}
{% set content = message['content'] %}
{% if '</think>' in content %}{% set content = content.split('</think>')[-1] %}{% endif %}
{{ '<｜Assistant｜>' + content + '<｜end▁of▁sentence｜>' -}}
{%- endif %}
{%- if message['role'] == 'tool' %}{{ '<｜tool▁sep｜>' + message['content'] }}{%- endif %}
{%- endfor %}
{% if add_generation_prompt %}{{ '<｜Assistant｜><think>\\n' }}{% endif %}
"""

MISTRAL_TOKENS = ("<s>", "</s>", "[INST]", "[/INST]")
MISTRAL = """\
{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content'] %}
    {%- set loop_messages = messages[1:] %}
{%- else %}
    {%- set loop_messages = messages %}
{%- endif %}
{{- bos_token }}
{%- for message in loop_messages %}
    {%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}
        {{- raise_exception('conversation roles must alternate user/assistant/user/assistant/...') }}
    {%- endif %}
    {%- if message['role'] == 'user' %}
        {%- if loop.last and system_message is defined %}
            {{- '[INST] ' + system_message + '\\n\\n' + message['content'] + '[/INST]' }}
        {%- else %}
            {{- '[INST] ' + message['content'] + '[/INST]' }}
        {%- endif %}
    {%- else %}
        {{- ' ' + message['content'] + eos_token }}
    {%- endif %}
{%- endfor %}
"""

GEMMA_TOKENS = ("<bos>", "<eos>", "<start_of_turn>", "<end_of_turn>")
GEMMA = """\
{{ bos_token }}
{%- if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}
{%- for message in messages %}
{%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}
{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}
{%- endif %}
{%- set role = 'model' if message['role'] == 'assistant' else message['role'] %}
{{- '<start_of_turn>' + role + '\\n' + message['content'] | trim + '<end_of_turn>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<start_of_turn>model\\n' }}{%- endif %}
"""

GEMMA3 = """\
{{ bos_token }}
{%- if messages[0]['role'] == 'system' %}
{%- set prefix = messages[0]['content'] + '\n\n' %}{% set turns = messages[1:] %}
{%- else %}
{%- set prefix = '' %}{% set turns = messages %}
{%- endif %}
{%- for message in turns %}
{%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}
{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}
{%- endif %}
{%- set role = 'model' if message['role'] == 'assistant' else message['role'] %}
{{- '<start_of_turn>' + role + '\n' + (prefix if loop.first else '') + message['content'] | trim + '<end_of_turn>\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{%- endif %}
"""
"""Puts the system text into the first user message."""

ZEPHYR_TOKENS = ("<|system|>", "<|user|>", "<|assistant|>", "</s>")
ZEPHYR = """\
{% for message in messages %}
{{ '<|' + message['role'] + '|>\\n' + message['content'] + eos_token + '\\n' }}
{%- endfor %}
{% if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% endif %}
"""
"""Builds its control tokens of the role, as Phi does."""

SMOLLM = """\
{%- for message in messages %}
{%- set content = message.content.replace('/no_think', '').replace('/think', '') %}
{{- '<|im_start|>' + message.role + '\\n' + content + '<|im_end|>\\n' }}
{%- endfor %}
"""
"""Takes words out of the middle of the text."""

CODER_TOKENS = ("<|im_start|>", "<|im_end|>", "<SPECIAL_11>", "<s>")
CODER = """\
{%- for tool in tools or [] %}
{{- '\\n<name>' ~ tool.function.name ~ '</name>' }}
{%- for key in tool.function.parameters %}
{{- '\\n<' ~ key ~ '>' ~ tool.function.parameters[key] ~ '</' ~ key ~ '>' }}
{%- endfor %}
{%- endfor %}
{%- for message in messages %}
{{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}
{%- endfor %}
"""
"""Builds tags of the schema's keys, and prints values as Python does: Qwen3-Coder, Nemotron."""

SAMPLES = {
    "qwen": (QWEN, QWEN_TOKENS, "", "<|im_end|>"),
    "llama3": (LLAMA3, LLAMA3_TOKENS, "<|begin_of_text|>", "<|eot_id|>"),
    "r1": (R1, R1_TOKENS, "<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>"),
    "mistral": (MISTRAL, MISTRAL_TOKENS, "<s>", "</s>"),
    "gemma": (GEMMA, GEMMA_TOKENS, "<bos>", "<eos>"),
    "gemma3": (GEMMA3, GEMMA_TOKENS, "<bos>", "<eos>"),
    "zephyr": (ZEPHYR, ZEPHYR_TOKENS, "", "</s>"),
    "smollm": (SMOLLM, QWEN_TOKENS, "", "<|im_end|>"),
    "coder": (CODER, CODER_TOKENS, "", "<|im_end|>"),
}
"""name -> source, control tokens, BOS, EOS."""


def model(name: str, **templates: str) -> ModelInfo:
    """A model with a sample's template and tokens, or with other templates and the sample's tokens."""
    source, tokens, bos, eos = SAMPLES[name]
    return bare_model(tokens, templates or {"default": source}, bos, eos)


def bare_model(
    tokens: tuple[str, ...] = (), templates: dict[str, str] | None = None, bos: str = "", eos: str = ""
) -> ModelInfo:
    return ModelInfo(
        name="m",
        path="/m.gguf",
        architecture="test",
        description="",
        n_params=1,
        size=1,
        vocab_size=100,
        n_embd=1,
        n_ctx_train=4096,
        ctx=4096,
        parallel=1,
        generates=True,
        add_bos=bool(bos),
        bos=bos,
        eos=eos,
        control_tokens=tokens,
        chat_templates=templates or {},
        sampling={},
    )


def render_each(source: str, contexts: list[dict[str, Any]], **values: str) -> list[RenderOutcome]:
    """Render without a process of its own."""
    tokens = {"bos_token": "<s>", "eos_token": "</s>", **values}
    request = RenderRequest(source, [{**context, **tokens} for context in contexts], 5.0)
    return answer(TemplateEnvironment(), request).renderings


def detect(source: str, tool_format: ToolFormat) -> Capabilities:
    """The capabilities of a template."""
    steps = detection(tool_format)
    step = next(steps)
    while not isinstance(step, Capabilities):
        step = steps.send(render_each(source, step))
    return step
