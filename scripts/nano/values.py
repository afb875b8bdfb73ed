"""What people say of a kind: names, places, codes, times, short messages, made-up words.

Most come from the word lists in `lists/`, so that there are too many to learn by heart,
and a share is invented letter by letter: it can only be copied.
"""

from __future__ import annotations

import random
import string
from collections.abc import Callable
from functools import cache
from pathlib import Path

from words import ROOMS, invented

LISTS = Path(__file__).with_name("lists")
AREAS = ("room", "hall", "wing", "bay", "zone", "lab", "area", "dock", "floor", "gate", "sector", "block")
STREETS = ("Street", "Road", "Avenue", "Lane", "Drive", "Way", "Square", "Close", "Hill", "Park")
COLORS = ("red", "green", "blue", "white", "yellow", "orange", "purple", "pink", "turquoise", "warm white", "amber",
          "violet", "cyan", "magenta", "gold", "grey", "black", "brown", "teal", "crimson", "lime")  # fmt: skip
LANGUAGES = ("English", "German", "French", "Spanish", "Italian", "Dutch", "Polish", "Turkish", "Japanese", "Korean",
             "Russian", "Arabic", "Greek", "Swedish", "Danish", "Finnish", "Czech", "Hindi", "Portuguese", "Thai",
             "Norwegian", "Hungarian", "Ukrainian", "Welsh", "Latin", "Swahili", "Mandarin", "Catalan")  # fmt: skip
DRINKS = ("coffee", "espresso", "green tea", "cola", "apple juice", "lemonade", "red wine", "tonic water", "milk",
          "hot chocolate", "ginger ale", "iced tea", "cappuccino", "tomato juice", "cider", "soda")  # fmt: skip
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday", "today", "tomorrow",
        "next Monday", "this Friday", "tonight", "the weekend", "Saturday morning", "Thursday afternoon")  # fmt: skip
MONTHS = ("January", "February", "March", "April", "May", "June", "July", "August", "September", "October",
          "November", "December")  # fmt: skip
FIRMS = ("Works", "Systems", "Logistics", "Foods", "Motors", "Brothers", "Partners", "Energy", "Bank", "Labs")
ENDINGS = ("txt", "pdf", "csv", "log", "md", "jpg", "png", "json", "zip", "py", "docx", "mp3", "conf", "xlsx", "wav", "svg", "stl", "mp4")  # fmt: skip
MESSAGES = (
    "the {thing} is {adjective}", "I'll be {n} minutes late", "please bring {food}", "can you call {name} back",
    "the {thing} has arrived", "don't forget the {thing}", "see you at {time}", "we need more {food}",
    "the meeting is moved to {time}", "{name} is on the way", "dinner is ready", "the {animal} got out again",
    "I left the {thing} in the {room}", "thanks for the {food}", "happy birthday {name}", "we are out of {food}",
    "the {room} needs cleaning", "good luck with the {act}", "your {thing} is waiting", "{city} is closed until {time}",
    "I can't find the {thing}", "the {act} starts at {time}", "please check the {thing} in the {room}", "all is well",
    "shift {n} begins now", "where is the {thing}?", "back in {n} minutes", "call me when you are in {city}",
    "the delivery from {city} is late", "{name} has the key", "look at the {thing} first", "no {food} for {name}",
    "buy {food} and {food}", "{adjective} {thing} for sale", "the {thing} makes a strange noise", "welcome to {city}",
    "lift {n} is out of order", "lunch with {name}", "pick up {name} at {time}", "order {n} {plural}", "pay the {thing} bill",
    "water the {plant}", "fix the {thing}", "the {animal} is hungry", "bring a {thing} and a {thing}", "smoke in the {room}",
)  # fmt: skip
TITLES = ("The {Adjective} {Thing}", "{Thing} and {Thing}", "{Adjective} {Animal}", "{Name}'s {Thing}", "A {Thing} in {city}",
          "{Adjective} {Act}", "The {Animal}", "Dear {Name}", "{Plant} {Act}", "{city}", "Under the {Plant}", "{Thing}",
          "{Name} and the {Animal}", "No {Act}", "{Thing} with a {Adjective} {Thing}", "The {Thing} of {Name}",
          "{Animal} in the {Plant}", "{n} {Adjective} {plural}", "{Adjective} {Adjective} {Thing}")  # fmt: skip


@cache
def listed(name: str) -> tuple[str, ...]:
    """The lines of a word list, but for the first, which says where it comes from."""
    return tuple((LISTS / f"{name}.txt").read_text().splitlines()[1:])


def common(rng: random.Random, name: str) -> str:
    """A word of a list: the front of it, which holds the commonest, more often than the end."""
    words = listed(name)
    return words[int(len(words) * rng.random() ** 1.5)]


def scrambled(rng: random.Random, least: int = 3, most: int = 9) -> str:
    """Letters and digits without a pattern: 'xK7-pq', '0b93F'."""
    letters = rng.choice(
        (string.ascii_lowercase, string.ascii_uppercase, string.ascii_letters, string.hexdigits[:16])
    )
    signs = letters if rng.random() < 0.3 else letters + string.digits
    text = "".join(rng.choice(signs) for _ in range(rng.randint(least, most)))
    if len(text) > 4 and rng.random() < 0.35:
        at = rng.randint(2, len(text) - 2)
        text = f"{text[:at]}{rng.choice('--_./')}{text[at:]}"
    return text


def ip(rng: random.Random) -> str:
    return ".".join(str(rng.randint(0, 255)) for _ in range(4))


def code(rng: random.Random) -> str:
    roll, digits = rng.random(), str(rng.randint(1, 10 ** rng.randint(1, 5)))
    letters = "".join(rng.choice(string.ascii_uppercase) for _ in range(rng.randint(1, 3)))
    if roll < 0.4:
        return f"{letters}-{digits}"
    if roll < 0.6:
        return f"{letters}{digits}"
    if roll < 0.7:
        return f"{digits}{letters}"
    if roll < 0.8:
        return f"{letters}-{digits}-{rng.randint(1, 99)}"
    if roll < 0.84:
        return f"{digits}-{rng.randint(1, 99):02d}"
    return ip(rng) if roll < 0.87 else scrambled(rng)


def number_id(rng: random.Random) -> str:
    return str(rng.randint(1, 10 ** rng.randint(2, 6)))


def person(rng: random.Random) -> str:
    roll = rng.random()
    if roll < 0.55:
        return common(rng, "names")
    if roll < 0.75:
        return f"{common(rng, 'names')} {common(rng, 'surnames')}"
    if roll < 0.85:
        return f"{rng.choice(('Dr', 'Mr', 'Mrs', 'Ms', 'Dr.'))} {common(rng, 'surnames')}"
    return invented(rng).capitalize()


def room(rng: random.Random) -> str:
    roll = rng.random()
    if roll < 0.5:
        return rng.choice(ROOMS)
    if roll < 0.7:
        return (
            f"{rng.choice(AREAS)} {rng.choice((str(rng.randint(1, 40)), rng.choice(string.ascii_uppercase)))}"
        )
    if roll < 0.9:
        return (
            f"{common(rng, rng.choice(('things', 'adjectives', 'materials', 'plants')))} {rng.choice(AREAS)}"
        )
    return invented(rng)


def address(rng: random.Random) -> str:
    return f"{rng.randint(1, 240)}{rng.choice(('', '', '', 'a', 'B'))} {street(rng)}"


def street(rng: random.Random) -> str:
    name = common(rng, rng.choice(("surnames", "names", "plants"))) if rng.random() < 0.8 else invented(rng)
    return f"{name.title()} {rng.choice(STREETS)}"


def thing(rng: random.Random) -> str:
    roll, noun = rng.random(), common(rng, "things")
    if roll < 0.45:
        return noun
    if roll < 0.6:
        return f"{common(rng, 'adjectives')} {noun}"
    if roll < 0.75:
        return f"{common(rng, rng.choice(('materials', 'things', 'acts')))} {noun}"
    if roll < 0.87:
        return f"{noun} {rng.choice((str(rng.randint(1, 30)), rng.choice(string.ascii_uppercase)))}"
    return f"{invented(rng)} {noun}"


def city(rng: random.Random) -> str:
    return common(rng, "cities") if rng.random() < 0.85 else invented(rng).capitalize()


def clock(rng: random.Random) -> str:
    hour, minute = rng.randint(0, 23), rng.randrange(0, 60, rng.choice((1, 5, 15, 30)))
    roll = rng.random()
    if roll < 0.7:
        return f"{hour}:{minute:02d}"
    return f"{hour:02d}:{minute:02d}" if roll < 0.85 else f"{hour % 12 + 1} {rng.choice(('am', 'pm'))}"


def date(rng: random.Random) -> str:
    day, month = rng.randint(1, 28), rng.choice(MONTHS)
    return rng.choice((f"{day} {month}", f"{month} {day}", f"2026-{rng.randint(1, 12):02d}-{day:02d}"))


def worded(text: str, rng: random.Random) -> str:
    """A template with a fresh word for each name in braces; a capital letter asks for one."""
    while "{" in text:
        head, _, rest = text.partition("{")
        name, _, tail = rest.partition("}")
        sources: dict[str, Callable[[], str]] = {"n": lambda: str(rng.randint(2, 90)), "time": lambda: clock(rng), "room": lambda: rng.choice(ROOMS),
                  "city": lambda: city(rng), "plural": lambda: common(rng, "things") + "s"}  # fmt: skip
        found = sources[name]() if name in sources else common(rng, f"{name.lower()}s")
        text = head + (found.title() if name[0].isupper() else found) + tail
    return text


def message(rng: random.Random) -> str:
    return worded(rng.choice(MESSAGES), rng)


def title(rng: random.Random) -> str:
    if rng.random() < 0.15:
        return " ".join(invented(rng).capitalize() for _ in range(rng.randint(1, 2)))
    return worded(rng.choice(TITLES), rng)


def file_name(rng: random.Random) -> str:
    stem = common(rng, "things")
    roll = rng.random()
    if roll < 0.2:
        stem = f"{stem}{rng.choice('_-')}{common(rng, rng.choice(('things', 'acts', 'adjectives')))}"
    elif roll < 0.45:
        number = rng.choice((f"v{rng.randint(1, 9)}", f"{rng.randint(1, 99):02d}", str(rng.randint(1, 2030))))
        stem += rng.choice(("_", "-", "")) + number
    elif roll < 0.55:
        stem = scrambled(rng) if rng.random() < 0.5 else invented(rng)
    return f"{stem.replace('/', '_')}.{rng.choice(ENDINGS)}"


def path(rng: random.Random) -> str:
    if rng.random() < 0.6:
        return file_name(rng)
    return "/".join(["", *(common(rng, "things") for _ in range(rng.randint(1, 2))), file_name(rng)])


def email(rng: random.Random) -> str:
    return f"{common(rng, 'names').lower()}@{host(rng)}"


def host(rng: random.Random) -> str:
    if rng.random() < 0.2:
        return ip(rng)
    return f"{rng.choice((common(rng, 'things'), invented(rng)))}.{rng.choice(('com', 'org', 'net', 'io', 'local', 'de'))}"


def url(rng: random.Random) -> str:
    return f"https://{host(rng)}" + (f"/{common(rng, 'things')}" if rng.random() < 0.4 else "")


def phone(rng: random.Random) -> str:
    return rng.choice((f"0{rng.randint(100, 999)} {rng.randint(10000, 9999999)}", f"555-{rng.randint(1000, 9999)}",
                       f"+{rng.randint(1, 99)} {rng.randint(100, 999)} {rng.randint(100000, 9999999)}"))  # fmt: skip


def word(rng: random.Random) -> str:
    return (
        common(rng, rng.choice(("things", "animals", "acts", "adjectives", "verbs", "foods")))
        if rng.random() < 0.7
        else invented(rng)
    )


def company(rng: random.Random) -> str:
    name = common(rng, "surnames") if rng.random() < 0.6 else invented(rng).capitalize()
    return name if rng.random() < 0.3 else f"{name} {rng.choice(FIRMS)}"


KINDS: dict[str, Callable[[random.Random], str]] = {
    "person": person, "city": city, "address": address, "street": street, "room": room, "object": thing, "code": code,
    "number_id": number_id, "time": clock, "date": date, "message": message, "title": title, "email": email, "url": url,
    "phone": phone, "path": path, "word": word, "company": company,
    "country": lambda rng: common(rng, "countries"), "food": lambda rng: common(rng, "foods"),
    "animal": lambda rng: common(rng, "animals"), "plant": lambda rng: common(rng, "plants"),
    "material": lambda rng: common(rng, "materials"), "drink": lambda rng: rng.choice(DRINKS),
    "color": lambda rng: rng.choice(COLORS), "language": lambda rng: rng.choice(LANGUAGES), "day": lambda rng: rng.choice(DAYS),
}  # fmt: skip


def value(rng: random.Random, kind: str) -> str:
    """Something said of this kind, or, where any name would do, one without a meaning."""
    roll = rng.random()
    if (
        kind in ("room", "object", "word", "title", "company", "material", "plant", "animal", "code")
        and roll < 0.16
    ):
        return scrambled(rng) if roll < 0.1 else invented(rng)
    return KINDS[kind](rng)


def resembling(rng: random.Random, examples: tuple[str, ...]) -> str:
    """One of the examples, or another made after it: its last word under a new first one, or with a number."""
    roll, example = rng.random(), rng.choice(examples)
    noun = example.split()[-1]
    numbered = noun[-1].isdigit() or len(noun) == 1
    if roll < 0.5:
        return example
    if roll < 0.58:
        return scrambled(rng) if rng.random() < 0.5 else invented(rng)
    if numbered:
        digit = rng.choice(string.ascii_uppercase) if noun.isalpha() else str(rng.randint(1, 40))
        return " ".join([*example.split()[:-1], digit]) if " " in example else code(rng)
    if roll < 0.66:
        return f"{noun} {rng.choice((str(rng.randint(1, 30)), rng.choice(string.ascii_uppercase)))}"
    kind = rng.choice(("adjectives", "things", "materials", "names", "animals", "plants"))
    first = common(rng, kind) if roll < 0.92 else invented(rng)
    return (
        f"{first} {noun}"
        if " " in example or rng.random() < 0.3
        else common(rng, rng.choice(("things", "foods", "names", "plants")))
    )
