"""The grammar's other half: tools that are asked for something rather than switched."""

from __future__ import annotations

from phrases import ROOM, SKILLS, number
from skills import Param, Skill, Use

NO_PARAMS: tuple[Param, ...] = ()

SERVICES: tuple[Skill, ...] = (
    Skill("fan_speed", "fan", ("set_fan_speed", "fan_speed", "fan_level", "set_ventilation"),
          ("Set the speed of a fan", "Fan speed of a room", "Set the fan level"),
          (ROOM, number("level", ("speed", "level", "percent"), "Speed in percent", "0-100", "Fan speed")),
          (Use(("set the [fan|ventilation] in {the} to {level}[%| percent|]", "{place} fan [at|to] {level}[%| percent|]",
                "[run|put] the {place} fan at {level}[%| percent]", "set the [fan |]speed in {the} to {level}[%| percent|]",
                "fan speed {level}[%| percent|] in {the}", "[can|could] you set the {place} fan to {level}[%| percent|]?"),
               "The fan in {the} runs at {level} %."),), ask="At what speed?"),
    Skill("timer", "timer", ("set_timer", "start_timer", "timer", "create_timer", "countdown"),
          ("Start a timer", "Set a timer in minutes", "Countdown timer"),
          (number("minutes", ("minutes", "duration_minutes", "duration", "mins"), "Minutes", "Duration in minutes", "Length in minutes"),
           Param("label", ("label", "name", "title"), "string", ("What it is for", "Label", "Name of the timer"), required=False)),
          (Use(("[set|start|create] a timer for {minutes} [minutes|min]", "[set|start|create] a {minutes}[ |-]minute timer", "timer {minutes} [minutes|min]",
                "[wake|call|ping] me in {minutes} [minutes|min]", "count down {minutes} minutes", "[can|could] you [set|start] a {minutes} minute timer?"),
               "The timer runs for {minutes} minutes."),
           Use(("[set|start] a timer for {label} for {minutes} [minutes|min]", "[set|start] a {minutes}[ |-]minute timer for {label}",
                "{minutes} [minutes|min] [timer |]for {label}", "timer for {label}, {minutes} minutes"),
               "The timer for {label} runs for {minutes} minutes.")), ask="For how many minutes?"),
    Skill("sensor", "sensor", ("read_sensor", "get_sensor", "get_reading", "sensor", "measure", "query_sensor"),
          ("Read a sensor", "Get the value of a sensor in a room", "Read one measurement"),
          (Param("quantity", ("sensor", "quantity", "kind", "type", "measurement"), "string",
                 ("What to read", "Kind of sensor", "Quantity to measure")), ROOM),
          (Use(("what is the {quantity} in {the}?", "what's the {quantity} in {the}?", "how high is the {quantity} in {the}?", "read the {quantity} [sensor |]in {the}",
                "[check|get|measure|show me|tell me] the {quantity} in {the}", "{place} {quantity}", "{quantity} in {the}[?|]",
                "[can|could] you [read|check] the {quantity} in {the}?", "what does the {quantity} sensor in {the} say?",
                "give me the {place} {quantity}"), "The {quantity} in {the} is {result}.", reading=True),), ask="In which room?"),
    Skill("thermometer", "sensor", ("get_temperature", "read_temperature", "temperature_of", "get_room_temperature"),
          ("Read the temperature of a room", "Get the current temperature", "Room temperature in Celsius"), (ROOM,),
          (Use(("how [warm|cold|hot] is it in {the}?", "what is the temperature in {the}?", "what's the temperature in {the}?", "[check|read|get] the temperature in {the}",
                "is it [warm|cold|hot] in {the}?", "temperature in {the}[?|]", "{place} temperature"),
               "It is {result} in {the}.", reading=True),), ask="In which room?"),
    Skill("weather", "weather", ("get_weather", "weather", "get_current_weather", "weather_report", "forecast"),
          ("Get the current weather", "Weather of a city", "Current weather for a place"),
          (Param("city", ("city", "location", "place", "town"), "string", ("City name", "The city", "Name of the city, e.g. Rome", "")),),
          (Use(("what is the weather [like |]in {city}?", "what's the weather [like |]in {city}?", "how is the weather in {city}?", "how's the weather in {city}?",
                "weather in {city}[?|]", "{city} weather", "[get|check|show me|tell me] the weather [in|for] {city}", "is it [raining|sunny|cold|warm] in {city}?",
                "what is it like outside in {city}?", "do i need an umbrella in {city}?", "[can|could] you check the weather in {city}?"),
               "In {city}: {result}.", reading=True),), ask="For which city?"),
    Skill("clock", "clock", ("get_time", "current_time", "clock", "time_now"), ("Get the current time", "Tells the time", "Current local time"), NO_PARAMS,
          (Use(("what time is it[ now|]?", "what is the time?", "what's the time?", "tell me the time", "do you know what time it is?", "how late is it?",
                "[check|show] the [time|clock]"), "It is {result}.", reading=True),)),
    Skill("devices", "devices", ("list_devices", "get_devices", "devices", "show_devices"), ("List all devices", "Names of the connected devices"), NO_PARAMS,
          (Use(("[list|show] [all |the |my |]devices", "which devices are [there|connected|online]?", "what devices do [i|you|we] have?", "what is connected?",
                "[show|give] me [all |]the devices"), "These are connected: {result}.", reading=True),)),
    Skill("announce", "announce", ("announce", "say", "speak", "send_message", "notify", "broadcast"),
          ("Say a text on the speaker", "Announce a message", "Send a message to everyone"),
          (Param("text", ("text", "message", "content"), "string", ("The text", "What to say", "Message text")),),
          (Use(("[say|announce|broadcast] [that |]{text}", "[send|post] the message {text}", "tell everyone [that |]{text}",
                "announce: {text}", "let [everyone|everybody] know that {text}"), "I have announced it."),), ask="What shall I say?"),
)  # fmt: skip

ALL: tuple[Skill, ...] = SKILLS + SERVICES
