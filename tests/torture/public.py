"""Those who are served while the torture goes on: streaming clients that know each answer's text beforehand and count every fault."""

import asyncio
import json
import random
import threading
from collections import Counter

import aiohttp

from tests.torture.rig import MODEL

TOKENS = (40, 400)
"""From, to: of an answer."""
PROMPTS = ("drain", "launch", "why is it hot", "who are you", "rebalance the fleet", "03:12")
SILENCE_LIMIT_S = 120.0
PAUSE_S = (0.0, 0.3)


class Public:
    """`clients` threads of life in one event loop of a thread of its own. Use as a context manager; `stop` ends it and gives the tally."""

    def __init__(self, url, clients=4, seed=1, expected=None):
        self._url = f"{url}/v1/completions"
        self._clients, self._seed = clients, seed
        self.expected = expected if expected is not None else {}
        """{prompt: {texts of TOKENS[1] tokens}}: of each checkpoint that may answer; an empty one makes every whole answer right."""
        self.tally = Counter()
        self.faults = []
        self._stopping = threading.Event()

    def __enter__(self):
        self._thread = threading.Thread(target=lambda: asyncio.run(self._live()), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *error):
        self.stop()

    def stop(self):
        """Lets what is in flight end."""
        self._stopping.set()
        self._thread.join(SILENCE_LIMIT_S)
        assert not self._thread.is_alive(), "a client never got the end of its answer"
        return self.tally

    async def _live(self):
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None, sock_read=SILENCE_LIMIT_S)) as session:
            await asyncio.gather(*(self._client(session, random.Random(f"{self._seed}/{number}")) for number in range(self._clients)))

    async def _client(self, session, dice):
        while not self._stopping.is_set():
            prompt, tokens = dice.choice(PROMPTS), dice.randint(*TOKENS)
            self.tally["sent"] += 1
            try:
                fault = await self._ask(session, prompt, tokens)
            except (aiohttp.ClientError, TimeoutError, ValueError) as error:
                fault = f"{type(error).__name__}: {error}"
            self.tally["failed" if fault else "whole"] += 1
            if fault:
                self.faults.append(fault)
            await asyncio.sleep(dice.uniform(*PAUSE_S))

    async def _ask(self, session, prompt, tokens):
        """What is wrong with the answer, "" when nothing is."""
        async with session.post(self._url, json=request(prompt, tokens) | {"stream": True}) as response:
            if response.status != 200:
                return f"status {response.status}: {(await response.text())[:200]}"
            worker = response.headers.get("X-Opsconsole-Worker", "")
            text, finish = "", None
            async for line in response.content:
                if line.startswith(b"data: {"):
                    event = json.loads(line[6:])
                    if "error" in event:
                        return f"cut at {worker}: {event['error'].get('message')}"
                    for choice in event["choices"]:
                        text, finish = text + choice["text"], choice["finish_reason"] or finish
                elif line.startswith(b"data: [DONE]"):
                    return self._judged(prompt, text, finish, worker)
        return f"ended at {worker} without [DONE] after {len(text)} characters"

    def _judged(self, prompt, text, finish, worker):
        if finish != "length":
            return f"finished by {finish!r} at {worker}"
        known = self.expected.get(prompt)
        if known and not any(whole.startswith(text) and text for whole in known):
            return f"another text than undisturbed, begun at {worker}: {text[:60]!r} …"
        return ""


def request(prompt, tokens):
    """Greedy and of a known length, so that its text is known too."""
    return {"model": MODEL, "prompt": prompt, "max_tokens": tokens, "temperature": 0, "ignore_eos": True}


async def texts_of(url):
    """{prompt: the whole text that this worker gives, undisturbed}."""
    async with aiohttp.ClientSession() as session:
        found = {}
        for prompt in PROMPTS:
            async with session.post(f"{url}/v1/completions", json=request(prompt, TOKENS[1])) as response:
                found[prompt] = (await response.json())["choices"][0]["text"]
        return found
