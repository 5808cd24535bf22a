"""A link to a made-up node, driven by a test: it emits what it is told and keeps the orders it is sent."""

import asyncio
import time

from opsconsole.core.events import Answered, Linked, Sampled
from opsconsole.core.ingest import Answer, ingest
from tests.telemetry import facts_line, sample_line


class ScriptedLink:
    def __init__(self, name):
        self.name = name
        self.connected = True
        self.orders = []
        self.workers = []
        self.emit = None
        self.opened = asyncio.Event()

    async def run(self, emit):
        self.emit = emit
        self.opened.set()
        emit(Linked(self.name, time.monotonic(), ingest(facts_line())))
        while True:
            self.sample()
            await asyncio.sleep(0.2)

    def sample(self):
        line = sample_line(workers=self.workers, wall=time.time())
        self.emit(Sampled(self.name, time.time(), time.monotonic(), ingest(line, self.name)))

    def send(self, order):
        if self.connected:
            self.orders.append(order)
        return self.connected

    def answer(self, ok, done, text, **detail):
        self.emit(Answered(self.name, Answer(self.orders[-1]["id"], ok, done, text, detail)))
