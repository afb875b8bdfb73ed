"""Results of tools, and the model's sentences that report them."""

from __future__ import annotations

import json
import random
from typing import Any

from grammar import fill
from skills import Use
from words import QUANTITIES, device, place

DONE = (
    '{"ok": true}',
    "ok",
    "OK",
    '{"status": "ok"}',
    '{"success": true}',
    "done",
    '{"result": "success"}',
    "true",
    "null",
    '{"error": null}',
    "",
)
FAILURES = ("timeout", "device not found", "no connection", "permission denied", "offline", "unknown room",
            "busy", "sensor not available",
            "value out of range", "battery empty", "internal error", "not responding")  # fmt: skip
SKIES = (
    "sunny",
    "cloudy",
    "rain",
    "light rain",
    "snow",
    "fog",
    "windy",
    "clear sky",
    "storm",
    "overcast",
    "partly cloudy",
)


def respond(use: Use, key: str, values: dict[str, Any], rng: random.Random) -> tuple[str, str]:
    """The tool's content and the sentence that reports it, which claims no more than it says."""
    if rng.random() < 0.1:
        why = rng.choice(FAILURES)
        content = rng.choice(
            (
                json.dumps({"error": why}),
                f"error: {why}",
                f"Error: {why}",
                json.dumps({"ok": False, "error": why}),
            )
        )
        return content, f"That failed: {why}."
    if not use.reading:
        return rng.choice(DONE), capital(fill(use.done, values, tail=use.tail))
    content, result = reading(key, values, rng)
    return content, capital(fill(use.done, values, result=result))


def reading(key: str, values: dict[str, Any], rng: random.Random) -> tuple[str, str]:
    """A measurement in one of several forms; a unit is only said when it was sent."""
    if key == "clock":
        text = f"{rng.randint(0, 23):02d}:{rng.randint(0, 59):02d}"
        return rng.choice((text, json.dumps({"time": text}))), text
    if key == "devices":
        names = [
            device(rng, rng.choice(("pump", "valve", "fan"))) if rng.random() < 0.5 else f"{place(rng)} light"
            for _ in range(rng.randint(1, 4))
        ]
        return rng.choice((json.dumps(names), json.dumps({"devices": names}))), ", ".join(names)
    if key == "weather":
        sky, degrees = rng.choice(SKIES), rng.randint(-15, 38)
        text = f"{sky}, {degrees} °C"
        return rng.choice((
            (text, text), (json.dumps({"condition": sky}), sky), (sky, sky),
            (json.dumps({"condition": sky, "temperature": degrees, "unit": "°C"}, ensure_ascii=False), text),
            (json.dumps({"temperature": degrees, "unit": "°C", "condition": sky}, ensure_ascii=False), text),
            (json.dumps({"temperature_c": degrees, "condition": sky}), text),
        ))  # fmt: skip
    units = {"temperature": "°C"} if key == "thermometer" else dict(QUANTITIES)
    quantity = "temperature" if key == "thermometer" else values["quantity"]
    unit = units.get(quantity, "units")
    number = rng.choice((round(rng.uniform(0, 99), 1), rng.randint(0, 1200), round(rng.uniform(15, 30), 1)))
    text = f"{number} {unit}"
    return rng.choice((
        (text, text), (json.dumps({"value": number, "unit": unit}, ensure_ascii=False), text),
        (json.dumps({quantity: number}), str(number)), (str(number), str(number)),
        (json.dumps({"value": number}), str(number)),
        (json.dumps({quantity: number, "unit": unit}, ensure_ascii=False), text),
    ))  # fmt: skip


def capital(text: str) -> str:
    return text[0].upper() + text[1:]
