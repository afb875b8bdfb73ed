"""Word lists: places, objects, numbers, and made-up names.

A share of all names is invented on the spot, so that the model has to copy a
name from the prompt instead of recalling one it was trained on.
"""

from __future__ import annotations

import random

ROOMS = (
    "kitchen", "living room", "bedroom", "bathroom", "hallway", "garage", "office", "basement",
    "attic", "dining room", "guest room", "nursery", "laundry room", "porch", "garden", "balcony",
    "workshop", "greenhouse", "server room", "warehouse", "lobby", "meeting room", "stairwell",
    "storage room", "cellar", "terrace", "study", "kids room", "pantry", "barn", "shed", "cold room",
    "control room", "lab", "corridor", "gym", "library", "studio", "entrance", "break room",
)  # fmt: skip
NUMBERED = ("zone", "room", "hall", "bay", "line", "floor", "unit", "section", "station", "tank", "cell")
PARTS = ("pump", "valve", "relay", "fan", "conveyor", "motor", "heater", "compressor", "mixer", "siren")
CITIES = (
    "Berlin", "Paris", "London", "Tokyo", "Madrid", "Rome", "Oslo", "Vienna", "Zurich", "Boston",
    "New York", "San Francisco", "Chicago", "Toronto", "Sydney", "Mumbai", "Delhi", "Nairobi", "Cairo",
    "Lisbon", "Dublin", "Prague", "Warsaw", "Seoul", "Singapore", "Hamburg", "Munich", "Lima",
    "Mexico City", "Helsinki", "Stockholm", "Amsterdam", "Brussels", "Athens", "Istanbul", "Denver",
)  # fmt: skip
LABELS = (
    "tea", "pasta", "pizza", "eggs", "laundry", "bread", "the oven", "a break", "rice", "coffee",
    "the meeting", "watering", "soup", "a nap", "workout", "the cake", "dinner", "the sprinkler",
)  # fmt: skip
QUANTITIES = (
    ("temperature", "°C"), ("humidity", "%"), ("pressure", "bar"), ("CO2", "ppm"), ("water level", "cm"),
    ("voltage", "V"), ("current", "A"), ("vibration", "mm/s"), ("brightness", "lux"), ("flow", "l/min"),
    ("noise level", "dB"), ("power", "W"),
)  # fmt: skip
ONSETS = ("b", "br", "d", "dr", "f", "g", "gl", "h", "j", "k", "kr", "l", "m", "n", "p", "pl", "qu", "r",
          "s", "sk", "st", "t", "tr", "v", "w", "x", "z", "sh", "ch")  # fmt: skip
VOWELS = ("a", "e", "i", "o", "u", "ai", "ee", "ou", "ia", "y")
CODAS = ("", "", "n", "r", "l", "x", "m", "k", "s", "nd", "rt", "th", "p", "ck")


def invented(rng: random.Random) -> str:
    """A pronounceable word that is in no dictionary: 'skiarn', 'velou', 'draix'."""
    count = rng.choice((1, 2, 2, 3))
    return "".join(rng.choice(ONSETS) + rng.choice(VOWELS) + rng.choice(CODAS) for _ in range(count))


def place(rng: random.Random) -> str:
    """A room or area as a user would write it, without an article."""
    roll = rng.random()
    if roll < 0.62:
        return rng.choice(ROOMS)
    if roll < 0.72:
        return f"{rng.choice(NUMBERED)} {rng.choice((str(rng.randint(1, 20)), rng.choice('ABCDEF')))}"
    if roll < 0.84:
        return f"{invented(rng)} {rng.choice(('room', 'hall', 'wing', 'house', 'area', 'lab'))}"
    if roll < 0.92:
        return f"{rng.choice(('upper', 'lower', 'front', 'back', 'left', 'main', 'second', 'north'))} {rng.choice(ROOMS)}"
    return invented(rng)


def device(rng: random.Random, noun: str) -> str:
    """The name of one pump, valve or relay among several."""
    roll = rng.random()
    if roll < 0.35:
        return f"{noun} {rng.randint(1, 16)}"
    if roll < 0.5:
        return f"{noun} {rng.choice('ABCDEF')}"
    if roll < 0.8:
        kind = rng.choice(("water", "main", "coolant", "feed", "drain", "inlet", "bypass", "oil", "gas",
                           "backup",
                           "irrigation", "pool", "circulation", "waste", "transfer", "booster"))  # fmt: skip
        return f"{kind} {noun}"
    return f"{invented(rng)} {noun}"


def article(name: str) -> str:
    """'the kitchen', but 'zone 3' and 'pump B' stand alone."""
    return name if name[-1].isdigit() or name[-2:-1] == " " else f"the {name}"
