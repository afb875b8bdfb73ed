"""The frames of made-up tools: what people say of a noun, and what the call has to hold.

`NOUN` stands for the noun and `@` for the place, where the tool wants one. In the names
and descriptions of a tool `N` stands for the noun.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from dataclasses import replace

from naming import params, slug, styled, unseen
from nouns import (
    AMOUNTS,
    CHORES,
    COLORED,
    FINDABLE,
    GOODS,
    LISTS,
    MACHINES,
    MESSAGES,
    MOVERS,
    OPENINGS,
    READINGS,
    THINGS,
    UNITS,
    VERBS,
)
from skills import Param, Skill, Use
from words import invented

Frame = Callable[[random.Random, str, bool], Skill]


def skill(
    rng: random.Random,
    group: str,
    noun: str,
    names: str,
    about: str,
    given: tuple[Param, ...],
    uses: tuple[Use, ...],
) -> Skill:
    """`names` and `about` hold alternatives between bars, with `N` for the noun."""
    name = styled(rng.choice(names.split("|")).replace("N", slug(noun)), rng)
    if rng.random() < 0.08 and not unseen(noun):
        name = invented(rng)
    said = re.sub(r"\bN(s?)\b", rf"{noun}\1", rng.choice(about.split("|")))
    return Skill(slug(noun), f"{group}:{noun}", (name,), (said,), given, uses, made=True)


def where(rng: random.Random) -> tuple[tuple[str, ...], str]:
    """A place as a parameter: whether a tool has one, and how phrases name it."""
    roll = rng.random()
    if roll < 0.45:
        return (), ""
    return ("place" if roll < 0.85 else "place?",), " in {the}"


def patterns(text: str, noun: str, at: str = "") -> tuple[str, ...]:
    return tuple(line.strip().replace("@", at).replace("NOUN", noun) for line in text.strip().splitlines())


# fmt: off
def switch(rng: random.Random, noun: str, test: bool) -> Skill:
    place, at = where(rng)
    on = patterns("""[turn|switch|put] on the NOUN@
        [turn|switch] the NOUN on@
        [start|run|activate|fire up|power up] the NOUN@
        NOUN on@
        [can|could|will] you [turn|switch] on the NOUN@?
        [enable|launch] the NOUN@
        i [need|want] the NOUN [running|on]@
        make sure the NOUN@ is [on|running]
        get the NOUN@ [going|running]""", noun, at)
    off = patterns("""[turn|switch|shut] off the NOUN@
        [turn|switch] the NOUN off@
        [stop|halt|kill|shut down|power down] the NOUN@
        NOUN off@
        [can|could|will] you [turn|switch] off the NOUN@?
        [disable|deactivate] the NOUN@
        i don't need the NOUN@ [anymore|any more|now]
        make sure the NOUN@ is off
        no more NOUN@""", noun, at)
    return skill(rng, "switch", noun, "set_N|control_N|switch_N|toggle_N|N_control|N_power|N|N_switch|operate_N",
                 "Turn the N on or off|Control the N|Switch the N|Power of the N|Start or stop the N|N: on or off",
                 params(rng, test, *place, "state"),
                 (Use(on, f"The {noun}{at} is on.", state=0), Use(off, f"The {noun}{at} is off.", state=1)))


def opening(rng: random.Random, noun: str, test: bool) -> Skill:
    place, at = where(rng)
    up = patterns("""open [up |]the NOUN@
        NOUN open@
        [can|could|would] you open the NOUN@?
        [raise|unlatch] the NOUN@
        i [want|need] the NOUN@ open
        get the NOUN@ open""", noun, at)
    down = patterns("""[close|shut] the NOUN@
        NOUN [closed|shut]@
        [can|could|would] you [close|shut] the NOUN@?
        [lower|latch] the NOUN@
        i [want|need] the NOUN@ [closed|shut]
        get the NOUN@ closed""", noun, at)
    return skill(rng, "open", noun, "set_N|control_N|move_N|N|N_control|operate_N|actuate_N",
                 "Open or close the N|Control the N|Move the N|Position of the N|Opens and closes the N",
                 params(rng, test, *place, "state", pairs="open"),
                 (Use(up, f"The {noun}{at} is open.", state=0), Use(down, f"The {noun}{at} is closed.", state=1)))


def amount(rng: random.Random, noun: str, test: bool) -> Skill:
    place, at = where(rng)
    said = patterns("""[set|change|adjust|move|bring] the NOUN@ to {level}[ percent|%|]
        [put|fix|keep|hold] the NOUN@ at {level}[ percent|%|]
        NOUN [to|at] {level}@
        [make|have] the NOUN@ {level}
        i [want|need|would like] [a|the] NOUN of {level}@
        [can|could|would] you [set|change|adjust] the NOUN@ to {level}?
        [raise|lower|turn] the NOUN@ to {level}
        NOUN@: {level}
        {level} for the NOUN@""", noun, at)
    return skill(rng, "set", noun, "set_N|change_N|adjust_N|N|N_set|update_N|put_N|configure_N",
                 "Set the N|Change the N|Adjust the N|New N|Sets a new N|The wanted N",
                 params(rng, test, *rng.sample([*place, "level"], len(place) + 1)),
                 (Use(said, f"The {noun}{at} is set to {{level}}."),))


def read(rng: random.Random, noun: str, test: bool) -> Skill:
    place, at = where(rng)
    said = patterns("""what is the [current |]NOUN@?
        what's the NOUN@?
        [check|read|get|show|fetch|report] the NOUN@
        [tell|show|give] me the [current |]NOUN@
        how [high|good|large] is the NOUN@?
        NOUN@[?|]
        [can|could] you [check|read|look up] the NOUN@?
        do you know the NOUN@?
        i [want|need] to know the NOUN@
        how is the NOUN@?""", noun, at)
    return skill(rng, "read", noun, "get_N|read_N|check_N|N|N_status|query_N|fetch_N|show_N|current_N",
                 "Get the N|Read the N|Current N|Returns the N|Check the N|Show the current N|Value of the N",
                 params(rng, test, *place), (Use(said, f"The {noun}{at} is {{result}}.", reading=True),))


def listing(rng: random.Random, noun: str, test: bool) -> Skill:
    add = patterns("""[add|put|write] {item} [to|on|onto] the NOUN
        [insert|enter] {item} [in|into] the NOUN
        {item} [goes|belongs] on the NOUN
        [can|could] you [add|put] {item} [to|on] the NOUN?
        i [need|want] {item} on the NOUN
        NOUN: add {item}""", noun)
    drop = patterns("""[remove|delete|take|cross|strike] {item} [from|off] the NOUN
        {item} is no longer on the NOUN
        [can|could] you [remove|delete] {item} from the NOUN?
        i don't [need|want] {item} on the NOUN
        NOUN: [remove|delete] {item}""", noun)
    both = (Use(add, f"I have added {{item}} to the {noun}.", state=0),
            Use(drop, f"I have removed {{item}} from the {noun}.", state=1))
    roll = rng.random()
    if roll < 0.4:
        return skill(rng, "list", noun, "edit_N|change_N|N|update_N", "Add or remove an entry of the N|Change the N|Edit the N",
                     params(rng, test, "item", "state", pairs="add"), both)
    if roll < 0.75:
        return skill(rng, "list", noun, "add_to_N|N_add|append_to_N|extend_N", "Add something to the N|Add an item to the N",
                     params(rng, test, "item"), (Use(add, both[0].done),))
    return skill(rng, "list", noun, "remove_from_N|N_remove|delete_from_N", "Remove something from the N|Delete an item of the N",
                 params(rng, test, "item"), (Use(drop, both[1].done),))


def find(rng: random.Random, noun: str, test: bool) -> Skill:
    said = patterns("""[find|search|look up|look for|locate] the NOUN {query}
        [show|get|fetch|bring] me the NOUN {query}
        [search for|find|look up] {query} [in|among|under] the NOUNs
        is there a NOUN [called|named] {query}?
        [can|could] you [find|look up|open] the NOUN {query}?
        [i want|open|i'm looking for] the NOUN {query}
        NOUN [called|named] {query}""", noun)
    return skill(rng, "find", noun, "find_N|search_N|N_search|lookup_N|get_N|open_N|N_finder",
                 "Find a N|Search for a N|Look up a N by name|Search the Ns|Opens a N",
                 params(rng, test, "query"), (Use(said, f"I have found the {noun} {{query}}."),))


def message(rng: random.Random, noun: str, test: bool) -> Skill:
    said = patterns("""send a[n|] NOUN to {person}[:| saying| that says| with the text] {text}
        send {person} a[n|] NOUN[:| saying| that says] {text}
        [write|post] {person} a[n|] NOUN: {text}
        NOUN to {person}: {text}
        let {person} know by NOUN that {text}
        tell {person} by NOUN that {text}
        [can|could] you send {person} a NOUN[:| saying] {text}""".replace("a[n|] ", "an " if noun[0] in "aeiou" else "a "), noun)
    return skill(rng, "message", noun, "send_N|write_N|N|N_send|new_N|post_N", "Send a N|Write a N to somebody|Sends a N to a person|Post a N",
                 params(rng, test, *rng.sample(["person", "text"], 2)), (Use(said, f"I have sent the {noun} to {{person}}."),))


def chore(rng: random.Random, noun: str, test: bool) -> Skill:
    place, at = where(rng) if rng.random() < 0.3 else ((), "")
    said = patterns("""[run|start|do|perform|make|begin|trigger] [a|the] NOUN@
        NOUN@ [now|please]
        it's time for [a|the] NOUN@
        [can|could|would] you [run|start|do] [a|the] NOUN@?
        i [want|need] a NOUN@
        we need a NOUN@
        go ahead with the NOUN@""", noun, at)
    return skill(rng, "do", noun, "run_N|start_N|N|do_N|trigger_N|perform_N|begin_N",
                 "Run a N|Start the N|Performs a N|Trigger the N|Does a N now",
                 params(rng, test, *place), (Use(said, f"The {noun}{at} has started."),))


def move(rng: random.Random, noun: str, test: bool) -> Skill:
    said = patterns("""[move|send|drive|bring|take|steer|direct] the NOUN to {the}
        NOUN to {the}
        [can|could] you [move|send|bring] the NOUN to {the}?
        i [need|want] the NOUN in {the}
        the NOUN [should|must] go to {the}
        [let|have] the NOUN [go|drive] to {the}""", noun)
    return skill(rng, "move", noun, "move_N|send_N|drive_N|N_goto|N_to|position_N|steer_N",
                 "Move the N to a place|Send the N somewhere|Drive the N to a room|Where the N shall go",
                 params(rng, test, "place"), (Use(said, f"The {noun} is on its way to {{the}}."),))


def order(rng: random.Random, noun: str, test: bool) -> Skill:
    place = ("place",) if rng.random() < 0.4 else ()
    many = noun + ("es" if noun[-1] in "sxh" else "s" if noun[-1] != "y" else "")
    said = patterns("""[order|buy|get|book|reserve|request] {count} NOUN@
        [i|we] need {count} [more |]NOUN@
        {count} NOUN@
        [can|could] you [order|get|bring] {count} NOUN@?
        [bring|deliver|send] {count} NOUN@
        NOUN: {count}@""", many, " [to|for] {the}" if place else "")
    return skill(rng, "order", noun, "order_N|buy_N|request_N|N_order|book_N|reserve_N|get_N",
                 "Order N|Buy Ns|Request a number of Ns|Order a quantity of N",
                 params(rng, test, *rng.sample([*place, "count"], len(place) + 1)), (Use(said, f"I have ordered {{count}} {many}."),))


def schedule(rng: random.Random, noun: str, test: bool) -> Skill:
    said = patterns("""[set|schedule|plan] the NOUN [for|at|to] {time}
        [start|run] the NOUN at {time}
        NOUN at {time}
        the NOUN [should|must] [start|run] at {time}
        [can|could] you [set|schedule] the NOUN for {time}?
        i [want|need] the NOUN at {time}
        at {time}, [start|run] the NOUN""", noun)
    return skill(rng, "when", noun, "schedule_N|plan_N|set_N_time|N_schedule|N_at|time_N", "Schedule the N|When the N starts|Start time of the N|Plan the N for a time",
                 params(rng, test, "time"), (Use(said, f"The {noun} is scheduled for {{time}}."),))


def lasting(rng: random.Random, noun: str, test: bool) -> Skill:
    place, at = where(rng)
    said = patterns("""[run|start] the NOUN@ for {minutes} [minutes|min]
        NOUN@ for {minutes} [minutes|min]
        [turn|switch] on the NOUN@ for {minutes} [minutes|min]
        {minutes} [minutes|min] of NOUN@
        [can|could] you run the NOUN@ for {minutes} minutes?
        let the NOUN@ run for {minutes} minutes
        i want {minutes} minutes of NOUN@""", noun, at)
    return skill(rng, "lasting", noun, "run_N|N_for|start_N|N_timer|run_N_for|timed_N", "Run the N for some minutes|Start the N for a time|Runs the N for minutes",
                 params(rng, test, *rng.sample([*place, "minutes"], len(place) + 1)), (Use(said, f"The {noun}{at} runs for {{minutes}} minutes."),))


def mode(rng: random.Random, noun: str, test: bool) -> Skill:
    place, at = where(rng)
    said = patterns("""[set|switch|change] the NOUN@ to {mode}[ mode|]
        put the NOUN@ [in|into|on] {mode}[ mode|]
        NOUN@ [in|on|to] {mode}[ mode|]
        [use|select|choose|activate] {mode}[ mode|] [for|on] the NOUN@
        [run|start] the NOUN@ [in|on|with] {mode}[ mode|]
        {mode}[ mode|] for the NOUN@
        [can|could] you [set|switch] the NOUN@ to {mode}[ mode|]?
        i [want|need] the NOUN@ [on|in] {mode}[ mode|]""", noun, at)
    return skill(rng, "mode", noun, "set_N_mode|N_mode|set_N|N_program|select_N_mode|N|change_N_mode", "Set the mode of the N|Mode of the N|Choose a program of the N|Change the N mode",
                 params(rng, test, *rng.sample([*place, "mode"], len(place) + 1)), (Use(said, f"The {noun}{at} is in {{mode}} mode."),))


def color(rng: random.Random, noun: str, test: bool) -> Skill:
    place, at = where(rng)
    said = patterns("""[make|turn|paint|color] the NOUN@ {color}
        [set|change|switch] the [color of the |]NOUN@ to {color}
        NOUN@ [in|to] {color}
        [can|could] you [make|turn] the NOUN@ {color}?
        i [want|need] the NOUN@ in {color}
        {color} [for|on] the NOUN@""", noun, at)
    return skill(rng, "color", noun, "set_N_color|color_N|N_color|paint_N|set_N|tint_N", "Set the color of the N|Color of the N|Change the color of the N",
                 params(rng, test, *rng.sample([*place, "color"], len(place) + 1)), (Use(said, f"The {noun}{at} is {{color}}."),))


def handle(rng: random.Random, noun: str, test: bool) -> Skill:
    """Any verb done to one of several things, which has a number or a name: water bed 3, lift the blue crane."""
    verb = rng.choice([v for v in VERBS if unseen(v) == (test and rng.random() < 0.5)])
    roll, unit = rng.random(), rng.choice(UNITS)
    extra, tail = (("level",), f" [with|by|to|at] {{level}} {unit}") if roll < 0.45 else (("place",), " in {the}") if roll < 0.65 else ((), "")
    said = patterns("""VERB {name}@
        [can|could|would] you VERB {name}@?
        [go and|go ahead and|it's time to|time to] VERB {name}@
        i [want|need] to VERB {name}@
        [we must|we should|let's] VERB {name}@
        VERB {bare}@
        VERB {name}@ [now|again|at once]""".replace("VERB", verb), noun, tail)
    own = {"name": (slug(noun), slug(noun), f"{slug(noun)}_id", f"{slug(noun)}_name"), "level": (slug(unit), unit)}
    bare = "" if test else f"|{verb}"
    names = f"{verb}_N|{verb}_N|{verb}_the_N|N_{verb}{bare}|do_{verb}_N"
    about = f"{verb.capitalize()} a N|{verb.capitalize()} the N|{verb.capitalize()} one N" if roll >= 0.45 else f"{verb.capitalize()} a N: {unit}|{verb.capitalize()} the N with {unit}|{verb.capitalize()} a N by a number of {unit}"
    given = params(rng, test, *rng.sample(["name", *extra], 1 + len(extra)), own=own)
    found = skill(rng, "handle", noun, names, about, given, (Use(said, "I have started to VERB {name}.".replace("VERB", verb)),))
    return replace(found, group=f"handle:{verb} {noun}")


FRAMES: tuple[tuple[Frame, tuple[str, ...]], ...] = (
    (switch, MACHINES), (switch, MACHINES), (opening, OPENINGS), (amount, AMOUNTS), (amount, AMOUNTS), (read, READINGS),
    (read, READINGS + AMOUNTS), (listing, LISTS), (find, FINDABLE), (message, MESSAGES), (chore, CHORES), (move, MOVERS),
    (order, GOODS), (handle, THINGS + MACHINES), (handle, THINGS), (handle, THINGS), (schedule, MACHINES + CHORES), (lasting, MACHINES), (mode, MACHINES), (color, COLORED),
)
# fmt: on
