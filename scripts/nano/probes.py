"""Questions and commands written by hand, outside the grammar: the honest test.

A question lists words of which the answer must hold one; a command is put to the
model together with `TOOLS`, and `None` means that no tool fits.
"""

from __future__ import annotations

from typing import Any


def _tool(name: str, about: str, required: int, **properties: Any) -> dict[str, Any]:
    parameters = {"type": "object", "properties": properties, "required": list(properties)[:required]}
    return {"type": "function", "function": {"name": name, "description": about, "parameters": parameters}}


TEXT = {"type": "string"}
TOOLS: list[dict[str, Any]] = [
    _tool(
        "set_light", "Turn a light on or off", 2, room=TEXT, state={"type": "string", "enum": ["on", "off"]}
    ),
    _tool("set_thermostat", "Set the target temperature", 1, temperature={"type": "number"}, room=TEXT),
    _tool(
        "control_blinds",
        "Open or close the blinds",
        2,
        room=TEXT,
        action={"type": "string", "enum": ["open", "close"]},
    ),
    _tool("set_pump", "Control a pump", 2, pump=TEXT, on={"type": "boolean"}),
    _tool("set_timer", "Start a timer", 1, minutes={"type": "integer"}, label=TEXT),
    _tool("read_sensor", "Read a sensor", 2, sensor=TEXT, room=TEXT),
]

# fmt: off
COMMANDS: tuple[tuple[str, str | None, dict[str, Any]], ...] = (
    ("turn on the kitchen light", "set_light", {"room": "kitchen", "state": "on"}),
    ("Please switch the bedroom lights off.", "set_light", {"room": "bedroom", "state": "off"}),
    ("can you turn the light in the garage on please", "set_light", {"room": "garage", "state": "on"}),
    ("I left the light on in the attic, switch it off", "set_light", {"room": "attic", "state": "off"}),
    ("Lights off in the meeting room!", "set_light", {"room": "meeting room", "state": "off"}),
    ("Turn off the lamp in the hallway", "set_light", {"room": "hallway", "state": "off"}),
    ("I can't see anything in the cellar", "set_light", {"room": "cellar", "state": "on"}),
    ("set the thermostat to 21 degrees", "set_thermostat", {"temperature": 21}),
    ("Set the living room temperature to 19.5", "set_thermostat", {"temperature": 19.5,
        "room": "living room"}),
    ("make the office 22 degrees warm", "set_thermostat", {"temperature": 22, "room": "office"}),
    ("heat the bathroom to 24 °C", "set_thermostat", {"temperature": 24, "room": "bathroom"}),
    ("close the blinds in the bedroom", "control_blinds", {"room": "bedroom", "action": "close"}),
    ("open the living room shutters", "control_blinds", {"room": "living room", "action": "open"}),
    ("Could you shut the curtains in the study?", "control_blinds", {"room": "study", "action": "close"}),
    ("start pump 3", "set_pump", {"pump": "pump 3", "on": True}),
    ("stop the coolant pump now", "set_pump", {"pump": "coolant pump", "on": False}),
    ("turn the irrigation pump on", "set_pump", {"pump": "irrigation pump", "on": True}),
    ("set a timer for 10 minutes", "set_timer", {"minutes": 10}),
    ("15 minute timer for pasta", "set_timer", {"minutes": 15, "label": "pasta"}),
    ("Start a timer of 5 minutes please", "set_timer", {"minutes": 5}),
    ("what's the humidity in the greenhouse?", "read_sensor", {"sensor": "humidity", "room": "greenhouse"}),
    ("How high is the pressure in tank 2?", "read_sensor", {"sensor": "pressure", "room": "tank 2"}),
    ("Show me the CO2 in the lab", "read_sensor", {"sensor": "CO2", "room": "lab"}),
    ("unlock the front door", None, {}),
    ("what's the weather in Paris?", None, {}),
    ("open valve 7", None, {}),
)

NUMBER, WHOLE = {"type": "number"}, {"type": "integer"}
WATER = _tool("water_bed", "Water a flower bed", 2, bed=TEXT, liters=NUMBER)
TRANSLATE = _tool("translate", "Translate a text into a language", 2, text=TEXT, language=TEXT)
HATCH = _tool("move_hatch", "Open or shut the roof hatch", 1, direction={"type": "string", "enum": ["open", "shut"]})
TAXI = _tool("call_taxi", "Order a taxi to an address", 1, address=TEXT)
CRANE = _tool("lift_load", "Lift the load of a crane to a height in meters", 2, crane=TEXT, meters=NUMBER)
VOLUME = _tool("audio_volume", "Set the loudness of a speaker", 2, speaker=TEXT, loudness=WHOLE)
BIRDS = _tool("feed_animals", "Feed the animals in a stable", 2, animal=TEXT, stable=TEXT)
STOCK = _tool("stock_count", "How many of a part are in stock", 1, part=TEXT)
SHIP = _tool("ship_parcel", "Send a parcel to a city", 2, parcel=TEXT, city=TEXT)
COUNTER = _tool("reset_counter", "Reset the part counter", 0)
PAINT = _tool("set_ambience", "Color of the room light", 2, hue={"type": "string", "enum": ["red", "blue", "warm"]}, area=TEXT)
ALARM = _tool("wake_up", "Set the alarm clock", 1, clock=TEXT)
BELT = _tool("belt_speed", "Speed of a conveyor belt in meters per minute", 2, belt=TEXT, speed=NUMBER)
MAIL = _tool("mail_to", "Write a mail to a person", 2, person=TEXT, body=TEXT)

NEW_COMMANDS: tuple[tuple[str, str | None, dict[str, Any], list[dict[str, Any]]], ...] = (
    ("water the rose bed with 12 liters", "water_bed", {"bed": "rose bed", "liters": 12}, [WATER, HATCH]),
    ("open the roof hatch", "move_hatch", {"direction": "open"}, [WATER, HATCH, TAXI]),
    ("shut the hatch please", "move_hatch", {"direction": "shut"}, [HATCH]),
    ("order a taxi to 5 Main Street", "call_taxi", {"address": "5 Main Street"}, [TAXI, STOCK]),
    ("lift the load of crane 2 to 14 meters", "lift_load", {"crane": "crane 2", "meters": 14}, [CRANE, BELT]),
    ("set the loudness of the kitchen speaker to 35", "audio_volume", {"speaker": "kitchen speaker",
        "loudness": 35}, [VOLUME, PAINT]),
    ("feed the goats in the north stable", "feed_animals", {"animal": "goats", "stable": "north stable"},
        [BIRDS, WATER]),
    ("how many bearings are in stock?", "stock_count", {"part": "bearings"}, [STOCK, SHIP]),
    ("send parcel 81 to Hamburg", "ship_parcel", {"parcel": "parcel 81", "city": "Hamburg"}, [STOCK, SHIP]),
    ("reset the part counter", "reset_counter", {}, [COUNTER, STOCK]),
    ("make the light in the lounge blue", "set_ambience", {"hue": "blue", "area": "lounge"}, [PAINT, VOLUME]),
    ("set the alarm clock to 6:45", "wake_up", {"clock": "6:45"}, [ALARM]),
    ("run belt 3 at 20 meters per minute", "belt_speed", {"belt": "belt 3", "speed": 20}, [BELT, CRANE]),
    ("write a mail to Sarah: the pump is broken", "mail_to", {"person": "Sarah", "body": "the pump is broken"},
        [MAIL, TRANSLATE]),
    ("reset the part counter", None, {}, [WATER, HATCH]),
    ("feed the goats in the north stable", None, {}, [CRANE]),
    ("what is the fuel level?", None, {}, [VOLUME, TAXI]),
    ("close the garage door", None, {}, [ALARM, MAIL]),
    ("set the volume to 20", None, {}, [BIRDS, COUNTER]),
    ("tell me the price of gold", None, {}, [BELT]),
)

QUESTIONS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("Who are you?", ("edgeinfer-nano",)),
    ("so what exactly are you", ("edgeinfer-nano",)),
    ("Hello!", ("Hello",)),
    ("Hey there nano", ("Hello",)),
    ("thank you so much", ("welcome",)),
    ("What can you do for me?", ("device commands",)),
    ("What sort of things are you good at?", ("device commands",)),
    ("What is edgeinfer?", ("inference daemon",)),
    ("please explain what edgeinfer is", ("inference daemon",)),
    ("How do I install a larger model?", ("install --auto-quant",)),
    ("I'd like to have a more powerful model", ("install --auto-quant",)),
    ("How can I get a bigger LLM on this box?", ("install --auto-quant",)),
    ("How do I start the service?", ("systemctl start",)),
    ("what's the command for starting edgeinfer", ("systemctl start",)),
    ("How do I stop the edgeinfer service?", ("systemctl stop",)),
    ("I want to shut the daemon down", ("systemctl stop",)),
    ("how to restart the server?", ("systemctl restart",)),
    ("Which port does it listen on?", ("11435",)),
    ("what's edgeinfer's port", ("11435",)),
    ("Which API does edgeinfer offer?", ("OpenAI",)),
    ("can I call you from my Python program?", ("OpenAI",)),
    ("Do you need an internet connection?", ("offline",)),
    ("What is a GGUF file?", ("GGUF",)),
    ("Which engine runs the models?", ("llama.cpp",)),
    ("how do I look at the log?", ("edgeinfer logs",)),
    ("Are you open source?", ("Apache",)),
    ("turn on the light in the kitchen", ("no tools",)),
    ("open the garage door", ("no tools",)),
    ("What is the capital of Sweden?", ("too small",)),
    ("write a poem about the autumn", ("too small",)),
)
# fmt: on
