"""The device grammar: what each kind of tool is called and how people ask for it.

A pattern holds alternatives in brackets and slots in braces. `{the}` is the place
with its article, `{place}` the place alone; other slots are named after the role
they fill. A pattern that ends in '?' is a question and gets no 'please'.
"""

from __future__ import annotations

from skills import Param, Skill, Use

# fmt: off
ROOM = Param("place", ("room", "location", "area", "place", "zone"), "string",
             ("Room name", "Where", "The room", "Name of the room or area", "Location of the device"))
ON_OFF = (("on", "off"), ("on", "off"), ("on", "off"), ("ON", "OFF"), ("turn_on", "turn_off"), (True, False),
          (True, False))
OPEN_CLOSE = (("open", "close"), ("open", "close"), ("open", "closed"), ("OPEN", "CLOSE"), (True, False))
START_STOP = (("start", "stop"), ("start", "stop"), ("on", "off"), ("run", "halt"), (True, False))
LOCKING = (("lock", "unlock"), ("locked", "unlocked"), (True, False))
# fmt: on


def state(pairs: tuple[tuple[object, object], ...], *names: str) -> Param:
    return Param(
        "state", names, "state", ("New state", "What to do", "Wanted state", "State to set", ""), pairs=pairs
    )


def number(role: str, names: tuple[str, ...], *about: str, required: bool = True) -> Param:
    return Param(role, names, "number", about, required=required)


# fmt: off
LIGHT_ON = (
    "[turn|switch|put] on the [light|lights|lamp|lamps] in {the}",
    "[turn|switch] the [light|lights|lamp] on in {the}",
    "[turn|switch|put] the {place} [light|lights|lamp] on",
    "[turn|switch] on the {place} [light|lights|lamp]",
    "{place} [light|lights|lamp] on", "[light|lights] on in {the}", "light up {the}",
    "enable the [light|lights] in {the}",
    "it's [too |very |so |]dark in {the}", "i [need|want] [some |]light in {the}",
    "[get|have] the lights on in {the}",
    "[can|could|would|will] you [turn|switch] on the [light|lights] in {the}?",
    "activate the {place} [light|lights]",
    "[can|could] you [turn|switch] the {place} [light|lights] on?", "in {the}, turn on the [light|lights]",
    "{the} is [too |very |so |]dark", "the [light|lights|lamp] in {the} should be on",
    "i [need|want] the [light|lights|lamp] on in {the}", "i can [barely|hardly] see [in|inside] {the}",
    "let there be light in {the}", "illuminate {the}", "[bring|get] [some |]light into {the}",
    "[light|lamp] in {the}: on", "switch on [all |]the lights in {the}", "make {the} bright",
    "someone is in {the}, [turn|switch] the [light|lights] on", "[light|lights] for {the}",
    "i am going to {the}, [turn|switch|put] the [light|lights] on",
)
LIGHT_OFF = (
    "[turn|switch|shut] off the [light|lights|lamp|lamps] in {the}",
    "[turn|switch] the [light|lights|lamp] off in {the}",
    "[turn|switch|shut] the {place} [light|lights|lamp] off",
    "[turn|switch] off the {place} [light|lights|lamp]",
    "{place} [light|lights|lamp] off", "[light|lights] off in {the}", "lights out in {the}",
    "kill the [light|lights] in {the}",
    "disable the [light|lights] in {the}", "nobody is in {the}, turn the [light|lights] off",
    "make {the} dark",
    "[can|could|would|will] you [turn|switch] off the [light|lights] in {the}?",
    "deactivate the {place} [light|lights]",
    "[can|could] you [turn|switch] the {place} [light|lights] off?", "no [more |]light in {the}",
    "i don't need [the |]light in {the} [anymore|any more|now]", "the [light|lights|lamp] in {the} should be off",
    "i [left|forgot] the [light|lights|lamp] on in {the}", "[light|lamp] in {the}: off", "it's too bright in {the}",
    "i [left|forgot] the [light|lights] on in {the}, turn [it|them] off", "darken {the}",
    "switch off [all |]the lights in {the}", "i want it dark in {the}", "{the} should be dark",
    "i left the [light|lights] on in {the}, [switch|turn|put] it off", "everyone has left {the}, switch the [light|lights] off", "put out the [light|lights] in {the}",
)
DIM = (
    "[dim|set] the [light|lights] in {the} to {level}[%| percent]",
    "[set|change|put] the {place} [light|lights] to {level}[%| percent]",
    "[dim|brighten] the {place} [light|lights|lamp] to {level}[%| percent]",
    "{place} [light|lights] [at|to] {level}[%| percent]",
    "[set|change] the brightness in {the} to {level}[%| percent|]",
    "brightness {level}[%| percent|] in {the}",
    "[can|could] you [dim|set] the {place} [light|lights] to {level}[%| percent]?",
    "{level}[%| percent] [light|brightness] in {the}",
    "[make|have] the [light|lights] in {the} {level}[%| percent] bright",
    "i want {level}[%| percent] light in {the}",
    "[turn|bring] the [light|lights|lamp] in {the} [up |down |]to {level}[%| percent|]",
    "[light|lights|lamp] in {the}: {level}[%| percent|]", "i [need|would like] the {place} [light|lights] at {level}[%| percent]",
    "[light|lights] in {the} [to|at] {level}[%| percent]", "the [light|lights] in {the} should be at {level}[%| percent]",
)
OPENING = ("open [up |]the [blinds|shutters|curtains] in {the}",
           "open the {place} [blinds|shutters|curtains]",
           "[raise|lift|pull up] the [blinds|shutters] in {the}",
           "{place} [blinds|shutters|curtains] [open|up]",
           "let [some |the |]sun[light|] into {the}",
           "[can|could] you open the [blinds|shutters|curtains] in {the}?",
           "[blinds|shutters] up in {the}", "put the [blinds|shutters] up in {the}",
           "[blinds|shutters|curtains] in {the}: open", "i want the [blinds|curtains|shutters] in {the} open",
           "[roll|wind] up the [blinds|shutters] in {the}", "i want [to see the sun|daylight] in {the}",
           "the [blinds|shutters|curtains] in {the} should be [open|up]")
CLOSING = ("close the [blinds|shutters|curtains] in {the}",
           "[close|shut] the {place} [blinds|shutters|curtains]",
           "[lower|drop|pull down] the [blinds|shutters] in {the}",
           "{place} [blinds|shutters|curtains] [closed|down]",
           "keep the sun out of {the}", "[can|could] you close the [blinds|shutters|curtains] in {the}?",
           "[blinds|shutters] down in {the}", "put the [blinds|shutters] down in {the}",
           "[blinds|shutters|curtains] in {the}: [close|closed]", "[roll|let] down the [blinds|shutters] in {the}",
           "i want the [blinds|curtains|shutters] in {the} [closed|down]", "the sun blinds me in {the}",
           "the [blinds|shutters|curtains] in {the} should be [closed|down]")
# fmt: on


def machine(verbs: str, tail: str, noun: str) -> tuple[str, ...]:
    """Commands to one named device; `verbs` go before its name and `tail` after it."""
    return (
        f"{verbs} {{name}}",
        f"[turn|switch|put] {{name}} {tail}",
        f"{{name}} {tail}",
        f"[can|could] you {verbs} {{name}}?",
        f"{verbs} the {noun} called {{bare}}",
        f"i want {{name}} {tail}",
        f"set {{name}} to {tail}",
        f"make sure {{name}} is {tail}",
        f"{verbs} {{name}} [immediately|at once|again]",
        f"time to {verbs} {{name}}",
        f"i want to {verbs} {{name}}",
        f"{{name}} [should|must] be {tail}",
        f"i need {{name}} [to be |]{tail}",
        f"{{name}}: {tail}",
        f"[get|have] {{name}} {tail}",
        f"[go ahead and|it's time to] {verbs} {{name}}",
        f"would you [please |]{verbs} {{name}}?",
    )


def switched(
    key: str, noun: str, states: Param, on: tuple[str, str], off: tuple[str, str], tools: tuple[str, ...]
) -> Skill:
    """A skill over named devices of one kind: pumps, valves, relays."""
    target = Param(
        "name",
        (f"{noun}_id", noun, "name", "id", "device", "target"),
        "string",
        (f"Name of the {noun}", f"Which {noun}", "Device name", "Identifier", ""),
    )
    return Skill(
        key,
        key,
        tools,
        (f"Control a {noun}", f"Switch a {noun}", f"Set the state of a {noun}", f"Operate one {noun}"),
        (target, states),
        (
            Use(machine(*on, noun), "{Name} is now {tail}.", state=0, tail=on[1]),
            Use(machine(*off, noun), "{Name} is now {tail}.", state=1, tail=off[1]),
        ),
        ask=f"Which {noun} do you mean?",
    )


# fmt: off
SKILLS: tuple[Skill, ...] = (
    Skill("light", "light", ("set_light", "light_control", "switch_light", "control_light", "lights",
                             "toggle_light"),
          ("Turn a light on or off", "Switch the light in a room", "Control the lights", "Light switch"),
          (ROOM, state(ON_OFF, "state", "power", "on", "action", "status")),
          (Use(LIGHT_ON, "The light in {the} is on.", state=0), Use(LIGHT_OFF, "The light in {the} is off.",
              state=1)),
          ask="In which room?"),
    Skill("dimmer", "light", ("set_light", "set_lamp", "light", "control_light", "smart_light"),
          ("Set a light: on or off, brightness", "Control a dimmable light", "Change the light in a room"),
          (ROOM, state(ON_OFF, "state", "power", "on"),
           number("level", ("brightness", "level", "percent"), "Brightness in percent", "0-100",
                  required=False)),
          (Use(LIGHT_ON, "The light in {the} is on.", state=0), Use(LIGHT_OFF, "The light in {the} is off.",
              state=1),
           Use(DIM, "The light in {the} is at {level} %.", state=0)), ask="In which room?"),
    Skill("brightness", "light", ("set_brightness", "dim_light", "dim_lights", "brightness", "light_level"),
          ("Set the brightness of a light", "Dim the lights in a room", "Light level in percent"),
          (ROOM, number("level", ("level", "brightness", "percent", "value"), "0-100", "Percent",
                        "Brightness in percent")),
          (Use(DIM, "The light in {the} is at {level} %."),), ask="To how many percent?"),
    Skill("thermostat", "heat", ("set_temperature", "thermostat", "set_thermostat", "heating",
                                 "adjust_thermostat"),
          ("Set the target temperature", "Set the thermostat of a room", "Change the heating"),
          (Param("place", ROOM.names, "string", ROOM.about, required=False),
           number("degrees", ("temperature", "degrees", "target", "celsius", "value"), "In °C",
                  "Target in Celsius", "Degrees")),
          (Use(("set the [thermostat|heating|temperature] in {the} to {degrees}[ degrees|°C| °C|]",
                "[heat|warm|cool] [up |down |]{the} to {degrees}[ degrees|°C| °C|]",
                "make it {degrees}[ degrees|°C|] in {the}",
                "{place} [thermostat|temperature|heating] to {degrees}[ degrees|°C|]",
                "i want {degrees} degrees in {the}",
                "i [need|would like] [it |]{degrees} degrees [warm |]in {the}", "{the} should be {degrees} degrees[ warm|]",
                "[get|bring|take] {the} to {degrees}[ degrees|°C| °C|]", "{degrees}[ degrees|°C| °C] in {the}",
                "[raise|lower|change|adjust] the [temperature|heating] in {the} to {degrees}[ degrees|°C|]",
                "set {the} to {degrees} degrees", "make {the} {degrees}[ degrees|°C][ warm|]",
                "set the {place} [thermostat|heating|temperature] to {degrees}[ degrees|°C| °C|]",
                "[can|could] you set the {place} [thermostat|temperature] to {degrees}[ degrees|°C|]?"),
               "The thermostat in {the} is set to {degrees} °C."),
           Use(("set the [thermostat|heating|temperature] to {degrees}[ degrees|°C| °C|]",
                "[thermostat|temperature|heating] to {degrees}[ degrees|°C|]",
                "make it {degrees}[ degrees|°C]", "change the temperature to {degrees}[ degrees|°C|]",
                "i'd like {degrees} degrees",
                "[raise|lower|adjust] the [temperature|heating|thermostat] to {degrees}[ degrees|°C|]",
                "[heat|warm|cool] [up |down |]to {degrees} degrees", "{degrees} degrees", "i want it {degrees} degrees warm",
                "[turn|put] the [heating|thermostat] to {degrees}[ degrees|°C|]"),
               "The thermostat is set to {degrees} °C.")), ask="To which temperature?"),
    Skill("blinds", "blinds", ("set_blinds", "blinds", "control_blinds", "move_shutters", "curtains"),
          ("Open or close the blinds", "Move the blinds of a room", "Control shutters and curtains"),
          (ROOM, state(OPEN_CLOSE, "state", "action", "position", "open", "command")),
          (Use(OPENING, "The blinds in {the} are open.", state=0), Use(CLOSING,
              "The blinds in {the} are closed.", state=1)),
          ask="In which room?"),
    switched("pump", "pump", state(START_STOP, "action", "state", "command", "on", "run"),
             ("[start|run|activate]", "on"),
             ("[stop|halt|deactivate]", "off"), ("set_pump", "control_pump", "pump", "pump_control",
                                                 "switch_pump")),
    switched("valve", "valve", state(OPEN_CLOSE, "state", "position", "action", "open", "command"), ("open",
        "open"),
             ("[close|shut]", "closed"), ("set_valve", "valve", "control_valve", "valve_control",
                                          "actuate_valve")),
    switched("relay", "relay", state(ON_OFF, "state", "on", "value", "action"),
             ("[energize|enable|switch on|turn on]", "on"),
             ("[release|disable|switch off|turn off]", "off"), ("set_relay", "relay", "switch_relay",
                 "relay_write", "write_relay")),
    switched("lock", "door", state(LOCKING, "state", "action", "locked", "command"), ("lock", "locked"),
             ("unlock", "unlocked"), ("set_lock", "door_lock", "lock", "lock_door", "control_lock")),
    Skill("fan", "fan", ("set_fan", "fan", "control_fan", "fan_control", "ventilation"),
          ("Turn a fan on or off", "Control the fan in a room", "Ventilation of a room"),
          (ROOM, state(ON_OFF, "state", "on", "power", "action")),
          (Use(("[turn|switch] on the [fan|ventilation] in {the}",
                "[start|run] the {place} [fan|ventilation]", "{place} fan on", "fan on in {the}",
                "[turn|switch] the {place} [fan|ventilation] on", "i need [some |]air in {the}",
                "it's stuffy in {the}", "air out {the}", "ventilate {the}", "[fan|ventilation] in {the}: on",
                "{the} needs [fresh |some |]air", "i want the [fan|ventilation] in {the} [on|running]",
                "[can|could] you [turn|switch] on the {place} fan?"),
               "The fan in {the} is on.", state=0),
           Use(("[turn|switch] off the [fan|ventilation] in {the}",
                "[stop|halt] the {place} [fan|ventilation]", "{place} fan off", "fan off in {the}",
                "[turn|switch] the {place} [fan|ventilation] off", "no more air in {the}",
                "the [fan|ventilation] in {the} is too loud", "[fan|ventilation] in {the}: off",
                "enough air in {the}", "no [more |]ventilation in {the}", "no [fan|air] in {the}",
                "i don't need the [fan|ventilation] in {the} [anymore|now]",
                "i want the [fan|ventilation] in {the} [off|stopped]",
                "[can|could] you [turn|switch] off the {place} fan?"),
               "The fan in {the} is off.", state=1)), ask="In which room?"),
)
# fmt: on
