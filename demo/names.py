"""Names that nobody has: drawn letter by letter in the forms that fleets use, so that a model can only be right by copying them."""

import random
import string

Dice = random.Random


def letters(dice: Dice, least: int, most: int) -> str:
    """A word that nobody knows."""
    return "".join(dice.choices(string.ascii_lowercase, k=dice.randint(least, most)))


def place(dice: Dice) -> str:
    """A site, sometimes a known one."""
    known = dice.choice(("ams", "fra", "lon", "dub", "osl", "nyc", "sin", "dc", "pod", "us", "eu"))
    return (known if dice.random() < 0.4 else letters(dice, 2, 4)) + str(dice.randint(1, dice.choice((3, 9, 40))))


def chip(dice: Dice) -> str:
    """A kind of GPU, sometimes a known one."""
    if dice.random() < 0.6:
        return dice.choice(("h100", "h200", "b200", "l40s", "a100", "gb200", "gpu", "node"))
    return letters(dice, 1, 2) + str(dice.choice((4, 10, 40, 100, 200, 300))) + letters(dice, 0, 1)


def number(dice: Dice) -> str:
    """One to three digits."""
    return str(dice.randint(1, 999)).zfill(dice.choice((1, 2, 2, 3)))


def node_name(dice: Dice) -> str:
    """A node's name in one of the forms that fleets use: ams1-h100-a, dc2-l40s-03, gpu017.fra1, gpu-c07, blade12."""
    word = dice.choice(("gpu", "node", "rack", "blade", "host")) if dice.random() < 0.4 else letters(dice, 2, 6)
    forms = (
        f"{place(dice)}-{chip(dice)}-{letters(dice, 1, 1)}",
        f"{place(dice)}-{chip(dice)}-{letters(dice, 1, 1)}{dice.randint(1, 12)}",
        f"{place(dice)}-{chip(dice)}-{number(dice)}",
        f"{word}-{letters(dice, 1, 1)}{number(dice)}",
        f"{word}{number(dice)}.{place(dice)}",
        f"{word}{number(dice)}",
        f"{word}-{number(dice)}",
        f"{place(dice)}-{word}{number(dice)}-{letters(dice, 1, 2)}{dice.randint(1, 9)}",
        f"{word}{number(dice)}.{place(dice)}.{letters(dice, 3, 7)}.{dice.choice(('com', 'net', 'example', 'local'))}",
        f"{word}_{number(dice)}",
    )
    return dice.choices(forms, weights=(6, 2, 5, 3, 2, 2, 2, 2, 1, 1))[0]


def model_name(dice: Dice) -> str:
    """A model's name: demo, demo-mini, llama-8b, chat-7f."""
    word = dice.choice(("demo", "chat", "code", "llama", "reason", "embed")) if dice.random() < 0.5 else letters(dice, 3, 7)
    ends = ("", "", "-mini", f"-{dice.choice((1, 3, 7, 8, 13, 32, 70, 400))}b", f"-{dice.randint(1, 9)}{letters(dice, 1, 1)}")
    return word + dice.choice(ends)


def worker_name(dice: Dice, model: str) -> str:
    """Workers are called after their model, as the console names them."""
    return f"{model}-{dice.randint(1, dice.choice((4, 9, 30)))}"
