"""Templates for models that bring none. They know no tools: `conversation` writes calls out as text."""

from __future__ import annotations

from collections.abc import Collection

CHATML = """\
{%- for message in messages %}
{{- '<|im_start|>' ~ message.role ~ '\\n' ~ message.content ~ '<|im_end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}
"""

PLAIN = """\
{%- for message in messages %}
{{- '' if message.role == 'system' else message.role | capitalize ~ ': ' }}{{- message.content ~ '\\n\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{- 'Assistant:' }}{%- endif %}
"""


def builtin(control_tokens: Collection[str]) -> str:
    """ChatML where the model has a token for it; else plain text: `User: …`, `Assistant: …`."""
    return CHATML if "<|im_start|>" in control_tokens else PLAIN
