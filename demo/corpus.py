"""The text that the demo model learns from: endless conversations about its topics, with new names and numbers in each."""

import random
import re
from collections.abc import Iterator

from knowledge import EXIT_CODES, KEYS, WORDS, XID, XID_LARGEST
from names import Dice, letters, model_name, node_name, worker_name
from topics import TOPICS, Facts, Topic

NAMES = ("node", "model", "worker", "noise")
STRANGE_XIDS = [code for code in range(1, XID_LARGEST + 1) if code not in XID]
SYSTEM_WORDS = ("You are a helpful assistant.", "You help those who run GPUs.", "Be brief.", "Answer in one sentence.")
OPENERS = ("Hi, ", "Hello. ", "Hey, ", "Please help. ", "Quick question: ", "Sorry, ", "On call here. ", "So, ", "Good morning. ",
"Question: ")
CLOSERS = (" Thanks.", " Please help.", " Thank you!", " It is urgent.", " please", " Please.", " thanks", " I am new here.")
_ALTERNATIVES = re.compile(r"\[([^\[\]]*)\]")


def draw(dice: Dice) -> Facts:
    """Fresh names and numbers for one question."""
    model = model_name(dice)
    facts = {
        "node": node_name(dice), "model": model, "worker": worker_name(dice, model), "gpu": dice.randrange(8),
        "temp_c": dice.choice((dice.randint(25, 99), dice.randint(76, 92))),
        "used_pct": dice.choice((dice.randint(0, 100), dice.randint(80, 100))),
        "waiting": dice.choice((0, dice.randint(1, 30), dice.randint(1, 9), dice.randint(10, 99), dice.randint(100, 999))),
        "xid": dice.choice(list(XID)), "strange": dice.choice(STRANGE_XIDS), "word": dice.choice(list(WORDS)),
        "code": dice.choice(list(EXIT_CODES)), "deed": dice.choice(list(KEYS)), "noise": letters(dice, 3, 8), "count": dice.randint(2, 9),
    }
    return {name: str(value) for name, value in facts.items()}


def expanded(dice: Dice, template: str) -> str:
    """One of the sentences that a template stands for, its facts not yet filled in."""
    while _ALTERNATIVES.search(template):
        template = _ALTERNATIVES.sub(lambda found: dice.choice(found[1].split("|")), template)
    return template.strip()


def question(dice: Dice, topic: Topic, kept_back: bool = False, nameless: bool = False) -> tuple[str, str]:
    """One question of a topic with its answer; kept_back: asked in a way that is never trained on; nameless: names left out."""
    facts = draw(dice) | (dict.fromkeys(NAMES, "") if nameless else {})
    asked = dice.choice(topic.kept_back) if kept_back else _carelessly(dice, expanded(dice, dice.choice(topic.asks)))
    said = topic.says.format(**facts) if isinstance(topic.says, str) else topic.says(facts)
    return asked.format(**facts), said


def _carelessly(dice: Dice, asked: str) -> str:
    """As people ask: with a word around it, without capitals, without the mark at the end, with a word that nobody knows."""
    chance = dice.random()
    if chance < 0.08:
        asked = asked.rstrip(".?!")
    elif chance < 0.16:
        asked = asked.rstrip(".") + "?"
    if dice.random() < 0.1:
        asked += dice.choice(CLOSERS)
    if dice.random() < 0.1 and "{model}" not in asked:  # the name of a model may be any word
        words = asked.split(" ")
        words.insert(dice.randint(0, len(words)), letters(dice, 2, 8))
        asked = " ".join(words)
    if dice.random() < 0.2 and asked[1:2].islower():
        asked = asked[0].lower() + asked[1:]
    return dice.choice(OPENERS) + asked if dice.random() < 0.1 else asked


def conversations(seed: int, nameless: bool = False) -> Iterator[list[dict[str, str]]]:
    """Endless training conversations as chat messages: most are one question, some two, some open with a system's words."""
    dice = random.Random(seed)
    shares = [topic.share for topic in TOPICS]
    while True:
        messages = [{"role": "system", "content": dice.choice(SYSTEM_WORDS)}] if dice.random() < 0.06 else []
        for topic in dice.choices(TOPICS, shares, k=2 if dice.random() < 0.12 else 1):
            asked, said = question(dice, topic, nameless=nameless)
            messages += [{"role": "user", "content": asked}, {"role": "assistant", "content": said}]
        yield messages
