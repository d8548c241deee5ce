"""English sentences from a small seeded grammar, enough for every voice.

The sentences are statements, questions, requests, lists and numbers about everyday things.  They
need not be true, only pronounceable: the words were chosen to cover the sounds of English.
:func:`sentence` draws one sentence; :func:`split_of` says in which split of the corpus its text
may be spoken, so that no text is heard both in training and in a test.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from random import Random


def _phrases(text: str) -> tuple[str, ...]:
    """Split at bars and line ends."""
    return tuple(text.strip().replace("\n", "|").split("|"))


PEOPLE = _phrases("""
the baker|my neighbor|the young teacher|our doctor|the tall sailor|her cousin|the new pilot|a farmer
the old judge|their uncle|the violin player|a careful nurse|the shy poet|the captain|our driver
the village mayor|a tired painter|the chess champion|his sister|the goldsmith|a cheerful waiter
the piano tuner|my grandfather|the choir|a young couple|the engineer|the museum guide|an actor
the bicycle mechanic|our landlady|the twins|the weather reporter|a visitor|the orchestra|the tailor
""")

PAST_VERBS = _phrases("""
bought|painted|carried|borrowed|found|measured|repaired|photographed|described|polished|forgot
ordered|weighed|hid|washed|delivered|chose|collected|drew|examined|moved|noticed|opened|packed
praised|sold|shared|sketched|touched|unwrapped|watched|wanted|brought back|looked after|gave away
""")

BASE_VERBS = _phrases("""
buy|paint|carry|borrow|find|measure|repair|photograph|describe|polish|forget|order|weigh|hide|wash
deliver|choose|collect|draw|examine|move|notice|open|pack|praise|sell|share|sketch|touch|unwrap
""")

ADJECTIVES = _phrases("""
yellow|heavy|narrow|ancient|fragile|wooden|purple|tiny|enormous|smooth|rusty|golden|broken|cheap
curious|frozen|genuine|hollow|jagged|leather|marble|noisy|orange|precious|quiet|round|silver|thick
unusual|velvet|warm|striped|shallow|bright|dusty|elegant|favorite|glass|humble|blue|green|dark
""")

THINGS = _phrases("""
basket|umbrella|carpet|mirror|kettle|lantern|guitar|hammer|blanket|envelope|ladder|teapot|jacket
vase|clock|drum|feather|garden chair|jigsaw puzzle|kite|lemon tree|map|necklace|oyster shell|pillow
quilt|radio|saddle|telescope|violin|wheelbarrow|zipper|anchor|birdhouse|candle|dictionary|engine
flag|globe|harp|ice skate|jug|keyboard|ladle|magazine|notebook|picture frame|ring|shovel|thimble
""")

PLURALS = _phrases("""
apples|bananas|cherries|daisies|eggs|figs|grapes|hazelnuts|jars of honey|keys|lemons|mushrooms
napkins|onions|peaches|quails|radishes|spoons|tulips|vegetables|walnuts|zebras|blueberries|cheeses
fish|gloves|horses|judges|letters|mice|oranges|pears|roses|shells|teeth|violets|watches|boxes
""")

PLACES = _phrases("""
in the harbor|near the old mill|behind the school|under the bridge|at the railway station
beside the river|on the third floor|across the valley|in a quiet library|outside the theater
along the beach|at the edge of the forest|in the kitchen|by the fountain|on top of the hill
inside the lighthouse|between two churches|at the fish market|in the cellar|above the bakery
on a rainy island|through the tunnel|around the corner|over the garden wall|in the south of Norway
""")

TIMES = _phrases("""
yesterday|last Thursday|before breakfast|in the early morning|at noon|during the storm
after the concert|on Wednesday evening|every other July|just before midnight|two weeks ago
on the first of May|while it snowed|as usual|at the weekend|in January|that same hour|once again
long before sunrise|between lunch and tea|later this month|on a foggy Sunday|without any warning
""")

REASONS = _phrases("""
because the price was low|although nobody had asked|so that the children could sleep
since the road was closed|because of the thunder|but the color was wrong|and everybody laughed
although the wind was cold|because the bus had gone|and then the lights went out
but no one heard the bell|so the dog began to bark|since the paint was still wet
and felt rather proud|but the box was too small
because the view is better there|and nothing else mattered
although both wheels were loose|so we had to wait|and the judge agreed|but it vanished overnight
""")

HOW = _phrases("""
quickly|with great care|rather slowly|in silence|without a sound|very gently|by mistake|on purpose
together|for the first time|as a joke|by candle light|with both hands|quite cheerfully|in a hurry
""")

OPINIONS = _phrases("""
I believe|they say|you might think|it seems|we were told|perhaps|nobody knew that|of course
I had hoped that|everyone agreed that|the paper says|it is clear that|some people claim that
""")

MEASURES = _phrases("""
miles|pounds|dollars|years|degrees|minutes|yards|visitors|pages|gallons|steps|kilometers|votes
""")


def _thing(rng: Random) -> str:
    adjective, noun = rng.choice(ADJECTIVES), rng.choice(THINGS)
    # "the" mostly; "a" would need "an" before vowels.
    return f"{rng.choice(['the', 'the', 'this', 'that', 'his', 'her', 'our'])} {adjective} {noun}"


def _statement(rng: Random) -> str:
    """Subject, verb and object, with none to three additions; the usual sentence."""
    parts = [rng.choice(PEOPLE), rng.choice(PAST_VERBS), _thing(rng)]
    if rng.random() < 0.3:
        parts.append(rng.choice(HOW))
    if rng.random() < 0.5:
        parts.append(rng.choice(PLACES))
    if rng.random() < 0.4:
        parts.append(rng.choice(TIMES))
    if rng.random() < 0.3:
        parts[-1] += ","
        parts.append(rng.choice(REASONS))
    if rng.random() < 0.2:
        parts.insert(0, rng.choice(OPINIONS))
    return " ".join(parts) + "."


def _remark(rng: Random) -> str:
    """A short sentence, for slow voices and short mixtures."""
    return rng.choice(
        [
            f"{rng.choice(PEOPLE)} {rng.choice(PAST_VERBS)} the {rng.choice(THINGS)}.",
            f"{rng.choice(PLURALS)} are {rng.choice(ADJECTIVES)} {rng.choice(PLACES)}.",
            f"{_thing(rng)} vanished {rng.choice(TIMES)}.",
            f"where did {rng.choice(PEOPLE)} go {rng.choice(TIMES)}?",
            f"{rng.choice(PEOPLE)} sang {rng.choice(HOW)}.",
        ]
    )


def _question(rng: Random) -> str:
    opening = rng.choice(["did", "will", "could", "when did", "why should", "how would"])
    parts = [opening, rng.choice(PEOPLE), rng.choice(BASE_VERBS), _thing(rng)]
    if rng.random() < 0.5:
        parts.append(rng.choice(PLACES))
    return " ".join(parts) + "?"


def _request(rng: Random) -> str:
    opening = rng.choice(["please", "do not", "let us", "you had better", "remember to", "try to"])
    parts = [opening, rng.choice(BASE_VERBS), _thing(rng), rng.choice(HOW + PLACES)]
    if rng.random() < 0.3:
        parts.append(rng.choice(TIMES))
    return " ".join(parts) + "."


def _list(rng: Random) -> str:
    first, second, third = rng.sample(PLURALS, 3)
    owner = rng.choice(PEOPLE)
    number = rng.randint(2, 99)
    return f"{owner} {rng.choice(PAST_VERBS)} {number} {first}, {second} and {third}."


def _number(rng: Random) -> str:
    amount = rng.choice([rng.randint(3, 20), rng.randint(21, 99), rng.randint(100, 999)])
    place = rng.choice(PLACES)
    return rng.choice(
        [
            f"it is {amount} {rng.choice(MEASURES)} from {_thing(rng)} to the one {place}.",
            f"{rng.choice(PEOPLE)} counted {amount} {rng.choice(PLURALS)} {place}.",
            f"room {amount} is {place}, {rng.choice(REASONS)}.",
            f"after {amount} {rng.choice(MEASURES)} {rng.choice(PEOPLE)} stopped {place}.",
        ]
    )


def _comparison(rng: Random) -> str:
    first, second = rng.sample(PLURALS, 2)
    return (
        f"{first} {rng.choice(PLACES)} are more {rng.choice(['costly', 'common'])} than {second}."
    )


_KINDS: tuple[Callable[[Random], str], ...] = (
    _statement,
    _statement,
    _remark,
    _remark,
    _question,
    _request,
    _list,
    _number,
    _comparison,
)


def sentence(rng: Random) -> str:
    """Draw one sentence, of about 5 to 25 words, with its capital letter and full stop."""
    text = rng.choice(_KINDS)(rng)
    return text[0].upper() + text[1:]


def split_of(text: str) -> str:
    """Return the split (``train``, ``valid`` or ``test``) in which this text may be spoken.

    A fixed function of the text: 80 % of the sentences belong to training, 10 % to each other.
    """
    tenth = zlib.crc32(text.encode("utf-8")) % 10
    return {0: "valid", 1: "test"}.get(tenth, "train")
