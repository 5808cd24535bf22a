"""What the demo's users ask: a small grammar of our own about running GPUs, in the words the demo's model was trained on."""

import random

XIDS = (13, 31, 48, 63, 64, 74, 79, 94, 95, 119)
NODE_KINDS = ("gpu", "h100", "h200", "node", "rack")

QUESTIONS = (
    "What does XID {xid} mean?",
    "GPU {gpu} on {node} is at {temp_c} C. Is that a problem?",
    "Worker w{gpu} on {node} has {waiting} requests waiting.",
    "How do I drain {node}?",
    "Worker w{gpu} on {node} does not answer.",
    "KV cache use on w{gpu} is {kv_used_pct} percent.",
    "Throughput on {node} dropped by half.",
    "who are you?",
)


def make_prompt(rng: random.Random) -> str:
    return rng.choice(QUESTIONS).format(
        xid=rng.choice(XIDS),
        gpu=rng.randrange(8),
        node=f"{rng.choice(NODE_KINDS)}-{rng.choice('abcdef')}{rng.randrange(1, 40):02d}",
        temp_c=rng.randrange(60, 97),
        waiting=rng.choice((0, 2, 12, 48, 96)),
        kv_used_pct=rng.choice((3, 25, 61, 98)),
    )
