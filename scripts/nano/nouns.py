"""The nouns that made-up tools are about, and the names of their parameters."""

from __future__ import annotations

# fmt: off
MACHINES = (
    "radio", "television", "heater", "boiler", "dishwasher", "washing machine", "dryer", "oven", "stove",
    "kettle", "toaster", "coffee machine", "blender", "vacuum", "mower", "sprinkler", "fountain", "alarm",
    "camera", "projector", "printer", "router", "modem", "screen", "speaker", "amplifier", "humidifier",
    "dehumidifier", "air purifier", "aquarium", "heat lamp", "sauna", "whirlpool", "pool cleaner", "conveyor",
    "mixer", "crusher", "grinder", "press", "saw", "lathe", "drill", "crane", "hoist", "elevator", "turbine",
    "generator", "compressor", "inverter", "charger", "heat pump", "extractor", "furnace", "kiln", "freezer",
    "fridge", "incubator", "feeder", "milking machine", "centrifuge", "shaker", "welder", "laser", "plotter",
    "robot", "drone", "beacon", "floodlight", "jukebox", "air conditioner", "electric fence", "ice maker",
    "mist maker", "chicken coop", "fish feeder", "tractor", "forklift", "scanner", "ventilator", "bubbler",
    "wind machine", "egg cooker", "rice cooker", "server", "sign", "carousel", "organ", "stirrer", "scale",
)
OPENINGS = (
    "gate", "window", "skylight", "hatch", "garage door", "awning", "damper", "vent", "roof", "drawer", "trunk",
    "cabinet", "sluice", "shade", "barrier", "flap", "lid", "chute", "silo", "sunshade", "tent", "pool cover",
    "cat flap", "bridge", "safe", "mailbox", "air inlet", "canopy", "turnstile", "shutter door", "dome",
)
AMOUNTS = (
    "volume", "channel", "frequency", "power limit", "contrast", "bass", "treble", "dosage", "flow rate", "torque",
    "zoom", "gain", "angle", "height", "tilt", "thickness", "timeout", "interval", "threshold", "setpoint",
    "quota", "price", "discount", "budget", "altitude", "rotation speed", "spin speed", "belt speed", "saturation",
    "balance", "refresh rate", "track", "gear", "page", "air flow", "salt level", "heat level", "steam level",
    "charge limit", "feed rate", "cutting depth", "exposure", "tempo", "pitch", "sensitivity", "resolution",
    "water hardness", "target weight", "speed limit", "duty cycle", "offset", "step size", "font size",
)
READINGS = (
    "battery level", "tank level", "wind speed", "air quality", "radiation", "soil moisture", "acidity",
    "rainfall", "uv index", "pollen count", "oil level", "fuel level", "step count", "heart rate", "stock price",
    "exchange rate", "water usage", "energy consumption", "uptime", "disk usage", "cpu load", "memory usage",
    "signal strength", "queue length", "visitor count", "parking space", "weight", "load", "account balance",
    "score", "schedule", "bus delay", "tide", "snow depth", "ozone", "gas usage", "filter age", "ink level",
    "bin level", "solar yield", "engine hours", "mileage", "tire pressure", "oxygen level", "dew point",
    "sound level", "door count", "error count", "bandwidth", "latency", "firmware version", "grain stock",
)
LISTS = (
    "shopping list", "todo list", "playlist", "guest list", "calendar", "cart", "watch list", "inventory",
    "wish list", "menu", "blocklist", "allowlist", "reading list", "packing list", "agenda", "logbook", "queue",
    "archive", "catalog", "album", "waiting list", "repair list", "stock list", "favorites", "backlog", "basket",
)
FINDABLE = (
    "song", "movie", "recipe", "contact", "book", "article", "podcast", "station", "word", "file", "photo",
    "document", "product", "flight", "hotel", "restaurant", "street", "video", "picture", "game", "manual", "part",
    "invoice", "customer", "ticket", "job", "pattern", "spare part", "poem", "museum", "doctor", "company",
)
MESSAGES = ("email", "text message", "note", "fax", "postcard", "alert", "report", "letter", "memo", "chat message",
            "voice mail", "telegram", "push message", "invitation", "reply", "warning", "complaint", "greeting")
CHORES = (
    "backup", "scan", "self test", "calibration", "defrost", "update", "snapshot", "cleanup", "sync", "diagnosis",
    "reset", "emergency stop", "evacuation", "inspection", "flush", "purge", "rinse", "restart", "drain cycle",
    "leak test", "fire drill", "stock count", "night shift", "data export", "speed test", "descaling",
    "log rotation", "warm up", "cool down", "pressure test", "key rotation", "roll call", "sterilization",
)
MOVERS = ("robot", "drone", "crane", "cart", "camera", "forklift", "elevator", "vacuum", "mower", "truck", "trolley",
          "arm", "shuttle", "boat", "tractor", "wagon", "hoist", "platform", "barge", "rover", "loader", "tram")
GOODS = ("pizza", "chair", "ticket", "box", "bottle", "screw", "cable", "filter", "battery", "pallet", "sandwich",
         "coffee", "cartridge", "bulb", "bolt", "towel", "blanket", "glove", "seed bag", "brick", "tile", "label",
         "sensor kit", "spare tire", "napkin", "egg tray", "pipe", "bucket", "crate", "candle", "taxi", "table")
MODES = ("eco", "turbo", "quiet", "auto", "manual", "night", "day", "summer", "winter", "holiday", "party", "sleep",
         "boost", "standby", "cotton", "wool", "silk", "intensive", "gentle", "fast", "slow", "normal", "safe",
         "test", "guest", "away", "cinema", "focus", "relax", "storm", "drying", "cooling", "heating", "sport")
COLORS = ("red", "green", "blue", "yellow", "white", "orange", "purple", "pink", "warm white", "cyan", "magenta",
          "gold", "violet", "turquoise", "amber", "black", "brown", "grey", "lime", "indigo")
COLORED = ("lamp strip", "sign", "led ring", "background", "beacon", "floodlight", "fountain", "screen", "status lamp",
           "button", "tree", "cursor", "banner", "wall washer", "candle", "logo", "tower", "keyboard", "stage")
PEOPLE = ("Anna", "Bob", "Carla", "David", "Emma", "Frank", "Grace", "Henry", "Ines", "Jonas", "Karim", "Lena",
          "Marco", "Nora", "Oscar", "Paula", "Ravi", "Sofia", "Tom", "Uma", "Victor", "Wendy", "Yusuf", "Zoe",
          "the boss", "the doctor", "my mother", "the office", "the driver", "maintenance", "the night shift")
ITEMS = ("milk", "eggs", "bread", "butter", "apples", "coffee", "soap", "two lemons", "a cake", "paper towels",
         "cheese", "rice", "batteries", "dog food", "a new hammer", "flour", "orange juice", "tomatoes", "salt",
         "a phone charger", "light bulbs", "tea", "onions", "olive oil", "socks", "shampoo", "yoghurt", "bananas")

VERBS = (
    "clean", "empty", "fill", "weigh", "inspect", "reset", "calibrate", "wash", "heat", "cool", "rotate", "brush",
    "load", "unload", "polish", "repair", "test", "label", "pack", "mark", "measure", "drain", "flush",
    "charge", "lubricate", "tighten", "align", "disinfect", "dry", "sort", "store", "fetch", "deliver", "count", "cut",
    "shake", "park", "release", "block", "freeze", "spray", "sharpen", "connect", "retract", "extend", "tilt", "unlock",
)
THINGS = (
    "tank", "crate", "pallet", "sheep", "cow", "horse", "plant", "engine", "cover", "wheel", "barrel",
    "car", "truck", "boat", "shelf", "rack", "line", "mold", "roller", "axis", "spindle", "nozzle", "hose",
    "tree", "field", "stall", "cage", "pond", "filter", "sample", "tray", "bin", "trailer", "bike", "panel", "cabin",
    "ladder", "locker", "kettle", "reactor", "silo", "container", "vat", "oven", "blade", "gripper", "chamber",
)
UNITS = ("liters", "kilos", "meters", "degrees", "percent", "pieces", "rounds", "bar", "times", "volts", "grams", "watts",
         "turns", "steps", "seconds", "hours", "newtons", "amps", "centimeters", "tons")

NAMES: dict[str, tuple[str, ...]] = {
    "place": ("room", "location", "area", "place", "zone", "site", "spot", "where", "position", "space", "region",
              "section", "sector", "premises", "chamber", "room_name", "part", "scope", "point", "field"),
    "state": ("state", "on", "power", "action", "status", "command", "switch", "value", "operation", "set_to",
              "turn", "new_state", "toggle", "power_state", "order", "do", "change", "request"),
    "level": ("level", "value", "percent", "amount", "setting", "target", "number", "to", "new_value", "figure",
              "degree", "points", "intensity", "strength", "goal", "limit", "size", "magnitude"),
    "minutes": ("minutes", "duration", "length", "period", "mins", "run_time", "span", "time_min", "how_long",
                "for_minutes", "lasting", "min_count", "runtime", "stay"),
    "item": ("item", "product", "entry", "thing", "article", "name", "what", "object", "element", "record", "good",
             "line", "piece", "subject"),
    "person": ("recipient", "to", "person", "contact", "name", "receiver", "addressee", "who", "user", "whom",
               "send_to", "reader", "for_whom", "partner"),
    "text": ("text", "message", "content", "body", "msg", "words", "note", "payload", "statement", "wording", "saying"),
    "mode": ("mode", "program", "setting", "option", "preset", "profile", "scene", "choice", "variant", "cycle",
             "kind", "style", "plan"),
    "query": ("query", "search", "term", "keyword", "q", "title", "phrase", "name", "subject", "what", "key",
              "search_for", "lookup", "wanted"),
    "count": ("count", "quantity", "number", "amount", "how_many", "pieces", "n", "units", "qty", "total", "copies"),
    "time": ("time", "at", "when", "start", "start_time", "clock_time", "moment", "begin", "due", "hour", "deadline"),
    "name": ("name", "id", "device", "target", "unit", "which", "object", "machine", "number", "label", "tag", "code"),
    "color": ("color", "colour", "tint", "shade", "hue", "paint", "tone", "color_name", "rgb_name"),
}
ABOUT: dict[str, tuple[str, ...]] = {
    "place": ("Room name", "Where", "The room", "Name of the room or area", "Place", "In which room", "Location"),
    "state": ("New state", "What to do", "Wanted state", "State to set", "Action"),
    "level": ("Value", "New value", "Number", "Value to set", "Target value", "How much"),
    "minutes": ("Minutes", "Duration in minutes", "How many minutes", "Time in minutes"),
    "item": ("The item", "What", "Name of the item", "Which item", "Entry"),
    "person": ("Recipient", "Who gets it", "Name of the person", "To whom", "Person"),
    "text": ("The text", "What to say", "Message text", "Content"),
    "mode": ("Mode", "Which mode", "Program to use", "Name of the mode"),
    "query": ("What to look for", "Search text", "Name or title", "Search term"),
    "count": ("How many", "Number of pieces", "Quantity", "Count"),
    "time": ("Time, HH:MM", "Time of day", "When", "Clock time"),
    "name": ("Which one", "Name or number", "Identifier", "Name", "The one to use"),
    "color": ("Color", "Name of the color", "Which color"),
}
# fmt: on
