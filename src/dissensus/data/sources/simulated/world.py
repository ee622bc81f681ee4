"""The small world that the simulated pairs speak of: its things, their scales, the vague words and their cuts.

Nothing here is random. All cuts and spreads are choices of ours, made to read plausibly; none was measured.
"""

from __future__ import annotations

from dissensus.data.sources.simulated.scales import Degree, Gap, Guess, Kind, Pole, PropertyScale, Report


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


_PEOPLE = _words(
    "Ada Ben Carla Daniel Elena Felix Greta Hugo Ines Jonas Karin Leo Maria Nils Olga Paul Rosa Simon Tara Viktor "
    "Wendy Yusuf Alice Boris Clara David Emma Frank Helen Ivan Julia Kevin Laura Martin Nora Oscar Peter Rita "
    "Sarah Thomas Uma Walter Anna Bruno Diana Eric Fatima George"
)
_COLOURS = _words("red blue green black white brown grey yellow pink orange round square")
_THINGS = _words("lamp chair jacket bag suitcase table mirror clock carpet desk shelf radio")
_EVENTS = _words("party lecture concert wedding meeting workshop play picnic")
_STREETS = _words("Mill Oak River Bridge Church Garden Market Park School Castle Hill Forest Lake Harbour")
_PLACES = _words("museum hotel pool gym library theatre gallery bakery cinema zoo")
_DISHES = _words("soup stew curry pie tea coffee pasta porridge")

_PERSON = Kind(
    "person",
    _PEOPLE,
    ("",),
    (
        PropertyScale(
            "height", "{who} measures {n} centimetres.", "{who} is {p}.", "{who} is not {p}.",
            "linear", 4.5, 140, 214,
            (Pole("{m}tall", 1, 183), Pole("{m}short", -1, 166)),
            words=(("{who} is tiny.", 142), ("{who} is of average height.", 174.5), ("{who} is a giant.", 214)),
            guesses=(Guess("{who} plays basketball.", 1, 187), Guess("{who} cannot reach the top shelf.", -1, 162)),
            more="{a} is taller than {b}.", less="{a} is shorter than {b}.",
            gap=Gap("{a} is {n} centimetres taller than {b}.", "{a} is much taller than {b}.",
                    "{a} is only slightly taller than {b}.", 13, 6),
        ),
        PropertyScale(
            "age", "{who} is {n} years old.", "{who} is {p}.", "{who} is not {p}.",
            "log", 0.17, 16, 98,
            (Pole("{m}old", 1, 60), Pole("{m}young", -1, 33)),
            words=(("{who} is a teenager.", 16), ("{who} is middle-aged.", 46), ("{who} is a pensioner.", 76)),
            guesses=(Guess("{who} has retired.", 1, 64), Guess("{who} is still a student.", -1, 24)),
            more="{a} is older than {b}.", less="{a} is younger than {b}.",
            gap=Gap("{a} is {n} years older than {b}.", "{a} is much older than {b}.",
                    "{a} is only slightly older than {b}.", 11, 4),
        ),
        PropertyScale(
            "wait", "{who} waited {n} minutes for the bus.", "{who} waited {p} for the bus.",
            "{who} did not wait {p} for the bus.",
            "log", 0.38, 2, 300,
            (Pole("a {m}long time", 1, 22), Pole("a {m}short time", -1, 7)),
            words=(("{who} waited a few seconds for the bus.", 0.3), ("{who} waited for hours for the bus.", 180)),
            guesses=(Guess("{who} is annoyed with the bus company.", 1, 30),
                     Guess("{who} just caught the bus.", -1, 3)),
            more="{a} waited longer for the bus than {b}.", less="{a} waited less for the bus than {b}.",
            gap=Gap("{a} waited {n} minutes longer than {b}.", "{a} waited much longer than {b}.",
                    "{a} waited only slightly longer than {b}.", 16, 5),
        ),
        PropertyScale(
            "rising", "{who} gets up at {n}.", "{who} gets up {p}.", "{who} does not get up {p}.",
            "clock", 0.55, 3.5, 13,
            (Pole("{m}late", 1, 9), Pole("{m}early", -1, 6.5)), step=0.25,
            words=(("{who} gets up before dawn.", 4), ("{who} gets up at noon.", 12)),
            guesses=(Guess("{who} is on holiday.", 1, 9.5), Guess("{who} works in a bakery.", -1, 5)),
            more="{a} gets up later than {b}.", less="{a} gets up earlier than {b}.",
        ),
    ),
)  # fmt: skip

_THING = Kind(
    "thing",
    tuple(f"the {colour}" for colour in _COLOURS),
    _THINGS,
    (
        PropertyScale(
            "price", "{who} costs {n} euros.", "{who} is {p}.", "{who} is not {p}.",
            "log", 0.35, 2, 2500,
            (Pole("{m}expensive", 1, 130), Pole("{m}cheap", -1, 40)),
            words=(("{who} costs next to nothing.", 3), ("{who} costs a fortune.", 2000)),
            guesses=(Guess("{who} is of high quality.", 1, 200), Guess("{who} breaks easily.", -1, 20)),
            more="{a} costs more than {b}.", less="{a} costs less than {b}.",
            gap=Gap("{a} costs {n} euros more than {b}.", "{a} costs much more than {b}.",
                    "{a} costs only slightly more than {b}.", 60, 12),
        ),
        PropertyScale(
            "weight", "{who} weighs {n} kilos.", "{who} is {p}.", "{who} is not {p}.",
            "log", 0.35, 2, 150,
            (Pole("{m}heavy", 1, 17), Pole("{m}light", -1, 5)),
            words=(("{who} weighs almost nothing.", 0.3), ("{who} weighs as much as a piano.", 300)),
            guesses=(Guess("{who} needs two people to move it.", 1, 30), Guess("{who} can be carried all day.", -1, 4)),
            more="{a} weighs more than {b}.", less="{a} weighs less than {b}.",
            gap=Gap("{a} weighs {n} kilos more than {b}.", "{a} weighs much more than {b}.",
                    "{a} weighs only slightly more than {b}.", 12, 3),
        ),
    ),
)  # fmt: skip

_EVENT = Kind(
    "event",
    tuple(f"{name}'s" for name in _PEOPLE),
    _EVENTS,
    (
        PropertyScale(
            "guests", "{n} people are coming to {who}.", "{p} people are coming to {who}.",
            "not {p} people are coming to {who}.",
            "log", 0.4, 2, 2000,
            (Pole("{m}many", 1, 60), Pole("{m}few", -1, 14, deniable=False)),
            words=(("nobody but the family is coming to {who}.", 4), ("a huge crowd is coming to {who}.", 900)),
            guesses=(Guess("{who} will be too loud.", 1, 90), Guess("{who} will be cosy.", -1, 12)),
            more="more people are coming to {a} than to {b}.", less="fewer people are coming to {a} than to {b}.",
        ),
        PropertyScale(
            "duration", "{who} lasts {n} minutes.", "{who} is {p}.", "{who} is not {p}.",
            "log", 0.32, 3, 1200,
            (Pole("{m}long", 1, 140), Pole("{m}short", -1, 40)),
            words=(("{who} is over in a moment.", 3), ("{who} goes on all day and all night.", 1200)),
            guesses=(Guess("{who} will be tiring.", 1, 200), Guess("{who} has no break.", -1, 50)),
            more="{a} lasts longer than {b}.", less="{a} is shorter than {b}.",
            gap=Gap("{a} lasts {n} minutes longer than {b}.", "{a} lasts much longer than {b}.",
                    "{a} lasts only slightly longer than {b}.", 50, 12),
        ),
        PropertyScale(
            "share", "{n} percent of the guests at {who} are students.", "{p} guests at {who} are students.",
            "not {p} guests at {who} are students.",
            "linear", 6, 1, 99,
            (Pole("most", 1, 63), Pole("few", -1, 26, deniable=False)),
            words=(("all the guests at {who} are students.", 120), ("none of the guests at {who} are students.", -20)),
            guesses=(Guess("{who} is held at a university.", 1, 75), Guess("{who} is for families.", -1, 20)),
        ),
    ),
)  # fmt: skip

_PLACE = Kind(
    "place",
    tuple(f"the {street} Street" for street in _STREETS),
    _PLACES,
    (
        PropertyScale(
            "distance", "{who} is {n} metres from the station.", "{who} is {p} the station.",
            "{who} is not {p} the station.",
            "log", 0.42, 10, 30000,
            (Pole("{m}far from", 1, 1800), Pole("{m}near", -1, 500)),
            words=(("{who} is next door to the station.", 20),
                   ("{who} and the station are in different towns.", 30000)),
            guesses=(Guess("most visitors of {who} come by car.", 1, 3000),
                     Guess("{who} is easy to reach on foot.", -1, 900)),
            more="{a} is further from the station than {b}.", less="{a} is nearer to the station than {b}.",
        ),
        PropertyScale(
            "queue", "{n} people are queuing at {who}.", "the queue at {who} is {p}.", "the queue at {who} is not {p}.",
            "log", 0.4, 2, 600,
            (Pole("{m}long", 1, 28), Pole("{m}short", -1, 7)),
            words=(("nobody but one couple is queuing at {who}.", 2), ("a huge crowd is queuing at {who}.", 500)),
            guesses=(Guess("{who} is well known.", 1, 50), Guess("{who} is about to close.", -1, 4)),
            more="more people are queuing at {a} than at {b}.", less="fewer people are queuing at {a} than at {b}.",
        ),
        PropertyScale(
            "indoors", "it is {n} degrees inside {who}.", "it is {p} inside {who}.", "it is not {p} inside {who}.",
            "linear", 1.7, -4, 42,
            (Pole("{m}warm", 1, 23), Pole("{m}cold", -1, 15)),
            words=(("it is freezing inside {who}.", -2), ("it is as hot as an oven inside {who}.", 42)),
            guesses=(Guess("the heating of {who} is on.", 1, 24),
                     Guess("visitors keep their coats on in {who}.", -1, 14)),
            more="it is warmer inside {a} than inside {b}.", less="it is colder inside {a} than inside {b}.",
        ),
    ),
)  # fmt: skip

_DISH = Kind(
    "dish",
    tuple(f"{name}'s" for name in _PEOPLE),
    _DISHES,
    (
        PropertyScale(
            "heat", "{who} is at {n} degrees.", "{who} is {p}.", "{who} is not {p}.",
            "linear", 5, 1, 99,
            (Pole("{m}hot", 1, 55), Pole("{m}cold", -1, 24)),
            words=(("{who} comes from the freezer.", -10), ("{who} is lukewarm.", 37), ("{who} is boiling.", 99)),
            guesses=(Guess("{who} has just left the stove.", 1, 65),
                     Guess("{who} has been standing for hours.", -1, 26)),
            more="{a} is warmer than {b}.", less="{a} is colder than {b}.",
        ),
        PropertyScale(
            "effort", "{who} takes {n} minutes to make.", "{who} is {p} to make.", "{who} is not {p} to make.",
            "log", 0.36, 2, 900,
            (Pole("{m}slow", 1, 70), Pole("{m}quick", -1, 20)),
            words=(("{who} takes a few seconds to make.", 1), ("{who} takes all day to make.", 600)),
            guesses=(Guess("{who} follows a difficult recipe.", 1, 100), Guess("{who} comes out of a packet.", -1, 8)),
            more="{a} takes longer to make than {b}.", less="{a} takes less time to make than {b}.",
        ),
    ),
)  # fmt: skip

WORLD: tuple[Kind, ...] = (_PERSON, _THING, _EVENT, _PLACE, _DISH)
"""Every kind of thing there is."""

DEGREES: tuple[Degree, ...] = (
    Degree("", 0.0),
    Degree("fairly ", -0.8),
    Degree("very ", 1.5),
    Degree("extremely ", 3.0),
)
"""Degree words, plain first."""

REPORTS: tuple[Report, ...] = (
    Report("extremely ", "", False, 5.0),
    Report("very ", "", False, 2.8),
    Report("", "", False, 1.2),
    Report("fairly ", "", False, 0.3),
    Report("very ", "", True, -0.7),
    Report("", "", True, -2.4),
    Report("", "anything but ", False, -4.5),
)
"""Ways to report a number with a vague word, from the most to the least."""
