"""Examines a served demo model: how often it answers exactly right, with names that it never saw and in ways it was never asked.

    python -m opsconsole.worker --model demo/model --slots 8 --port 8000
    python demo/exam.py http://127.0.0.1:8000 [--questions 500] [--temperature 0.7] [--wrong]

Prints one JSON line for ways of asking that were trained on and one for those that were not: the shares of answers that are word for
word right, that end by themselves, and that have all names of the right answer. Names are always new ones.
"""

import argparse
import json
import random
import re
import urllib.request
from concurrent.futures import ThreadPoolExecutor

from corpus import question
from topics import TOPICS

NAMES = re.compile(r"[a-z]+\d+[a-z0-9]*(?:[-_.][a-z0-9]+)*|[a-z]+(?:[-_][a-z0-9]+)+")
"""Of nodes, workers and most models."""
AT_ONCE = 8
LIMIT_S = 60.0


def ask(url: str, asked: str, temperature: float, seed: int) -> tuple[str, bool]:
    """The answer, and whether it ended by itself."""
    messages = [{"role": "user", "content": asked}]
    body = {"model": "demo", "messages": messages, "temperature": temperature, "seed": seed, "max_tokens": 160}
    request = urllib.request.Request(url + "/v1/chat/completions", json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=LIMIT_S) as answer:
        choice = json.load(answer)["choices"][0]
    return choice["message"]["content"], choice["finish_reason"] == "stop"


def examine(url: str, questions: int, temperature: float, kept_back: bool, tell_wrong: bool) -> dict[str, float]:
    """Shares of right answers, of answers that ended, and of answers with all names right."""
    dice = random.Random("kept back" if kept_back else "trained on")
    topics = dice.choices(TOPICS, [topic.share for topic in TOPICS], k=questions)
    pairs = [question(dice, topic, kept_back) for topic in topics]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        answers = list(pool.map(lambda numbered: ask(url, numbered[1][0], temperature, numbered[0]), enumerate(pairs)))
    right = named = 0
    for (asked, wanted), (said, _) in zip(pairs, answers, strict=True):
        right += said == wanted
        named += set(NAMES.findall(wanted)) <= set(NAMES.findall(said))
        if tell_wrong and said != wanted:
            print(f"asked: {asked}\n wanted: {wanted}\n said:   {said}")
    return {"exact": right / questions, "names": named / questions, "ended": sum(ended for _, ended in answers) / questions}


def main() -> None:
    """Examine in both ways."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("url", help="where the worker listens")
    parser.add_argument("--questions", type=int, default=500, help="of each kind")
    parser.add_argument("--temperature", type=float, default=0.0)
    parser.add_argument("--wrong", action="store_true", help="print each wrong answer")
    said = parser.parse_args()
    for kept_back in (False, True):
        found = examine(said.url, said.questions, said.temperature, kept_back, said.wrong)
        print(json.dumps({"asked": "in new ways" if kept_back else "as trained", "questions": said.questions, **found}), flush=True)


if __name__ == "__main__":
    main()
