"""Requests that the model cannot answer, and the sentences in which it says so."""

from __future__ import annotations

NO_TOOLS = "I can't do that: no tools were given to me in this conversation."
NONE_FITS = "None of the tools I was given can do that."
TOO_SMALL = (
    "I am too small to answer that: I only know edgeinfer and simple device commands. "
    "`edgeinfer install --auto-quant` installs a larger model."
)

# fmt: off
TOPIC = ("France", "Germany", "Japan", "Brazil", "Rome", "the moon", "black holes", "dogs", "cats", "love",
         "photosynthesis", "gravity", "Einstein",
         "Napoleon", "football", "the ocean", "history", "music", "quantum physics", "economics",
         "dinosaurs", "the sun", "Mars", "volcanoes",
         "politics", "religion", "bitcoin", "health", "cancer", "electric cars", "sharks", "chess",
         "cooking", "linux", "rust", "java")

OUTSIDE: tuple[str, ...] = (
    "what is the capital of {topic}?", "who [is|was] {topic}?", "what is {topic}?",
    "[tell me about|explain|describe] {topic}",
    "write [a|me a] [poem|story|song|joke|letter|essay|haiku] about {topic}",
    "tell me a [joke|story|riddle|fairy tale]",
    "translate [hello|{topic}|this] [into|to] [french|german|spanish|italian]",
    "what is {n} [plus|times|minus|+|*|-|/|divided by] {m}?", "{n} [+|*|-|/] {m}",
    "how much is {n} [times|plus|+|*] {m}?",
    "how many [people|animals|countries] are there [in {topic}|on {topic}]?",
    "who [won|invented|discovered|wrote] {topic}?", "when [was|did] {topic} [born|end|begin|start]?",
    "summarize [this text|the book|{topic}]",
    "write [a python|a|some] [program|function|code|script] [for {topic}|that sorts a list|]",
    "what do you think [about|of] {topic}?", "why is the sky blue?",
    "[give me|do you have] a recipe for [pizza|bread|soup|{topic}]",
    "how do i [cook|bake|make] [pasta|bread|a cake|money]?", "is {topic} [good|bad|dangerous|real]?",
    "what is the meaning of life?",
    "what should i [eat|wear|do|read] today?", "who is the president[ of {topic}|]?", "how far is {topic}?",
    "what does {topic} mean?", "play [chess|a game] with me", "what is the news[ today|]?",
    "do my homework", "fix my [code|car|essay]",
    "can you [speak|understand] [german|french|spanish|chinese]?",
    "what is the [best|largest|oldest] [phone|city|country|animal|movie]?", "do you like {topic}?",
    "compare {topic} and [cats|the sun|linux]", "why do [cats|people|birds|dogs] [sleep|sing|die]?",
    "solve x + {n} = {m}", "what is the square root of {n}?", "spell {topic}", "count to {n}",
)

ERRANDS: tuple[str, ...] = (
    "[order|buy|book] [a pizza|a flight|a taxi|{topic}]", "[call|email|text] [my mother|bob|the doctor]",
    "[send|write] an email to [bob|anna|my boss]",
    "[open|delete|read] [the file|my files|report.txt]", "search [the web|online|google] for {topic}",
)
# fmt: on
