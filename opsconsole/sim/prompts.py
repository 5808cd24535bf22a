"""What the demo's users ask: a small grammar of our own about running GPUs, in the words that the demo's model is trained on."""

import random

XIDS = (13, 31, 48, 63, 64, 74, 79, 94, 95, 119)
SITES, CHIPS = ("ams1", "fra1"), ("h100", "h200", "l40s")

QUESTIONS = (
    "What does XID {xid} mean?",
    "GPU {gpu} on {node} is at {temp_c} C. Is that a problem?",
    "Worker {worker} has {waiting} requests waiting.",
    "How do I drain {node}?",
    "Worker {worker} does not answer.",
    "KV cache use on {worker} is {used_pct} percent.",
    "Throughput on {node} dropped by half.",
    "Who are you?",
)


def make_prompt(rng: random.Random) -> str:
    return rng.choice(QUESTIONS).format(
        xid=rng.choice(XIDS),
        gpu=rng.randrange(8),
        node=f"{rng.choice(SITES)}-{rng.choice(CHIPS)}-{rng.choice('ab')}",
        worker=f"{rng.choice(('demo', 'demo-mini'))}-{rng.randint(1, 4)}",
        temp_c=rng.randrange(60, 97),
        waiting=rng.choice((0, 2, 12, 48, 96)),
        used_pct=rng.choice((3, 25, 61, 98)),
    )
