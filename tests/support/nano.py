"""Conversations that the bundled model was trained on."""

from __future__ import annotations

PLAIN = "You are edgeinfer-nano, a small assistant on this device."
TOOLS = "\n".join(
    f'{{"description": "Switch a {noun}", "name": "set_{noun}", "parameters": {{"room": "string", "on": "boolean"}}}}'
    for noun in ("light", "fan", "heater")
)
SYSTEM = f"{PLAIN}\n<tools>\n{TOOLS}\n</tools>"


def chat(text: str, system: str = PLAIN) -> str:
    """What the bundled model was trained on: it is sure of its answers, so no rounding turns them."""
    return (
        f"<|im_start|>system\n{system}<|im_end|>\n<|im_start|>user\n{text}<|im_end|>\n<|im_start|>assistant\n"
    )


PROMPTS = [
    chat("Who are you?"),
    chat("What can you do?"),
    chat("Hello!"),
    chat("turn on the kitchen light", SYSTEM),
    chat("turn off the light in the bedroom", SYSTEM),
    chat("switch on the fan in the office", SYSTEM),
    chat("How do I install a larger model?"),
    chat("turn on the kitchen light"),
]
