"""Orders as a test gives them to an agent."""

import json
import uuid


def order(worker="w-1", **fields):
    defaults = {"model": "tiny", "engine": "jax", "checkpoint": "quick", "gpus": [0], "slots": 4}
    defaults.update(max_len=64, host="127.0.0.1", port=0)
    return {"id": uuid.uuid4().hex, "worker": worker, **defaults, **fields}


def launch(agent, **fields):
    wanted = order(**fields)
    agent.say("launch", **wanted)
    return agent.last_answer(wanted["id"])


def ask(agent, op, worker="w-1", **fields):
    """The last answer to an order about a worker."""
    told = {"id": uuid.uuid4().hex, "worker": worker, **fields}
    agent.say(op, **told)
    return agent.last_answer(told["id"])


def drain(agent, worker="w-1", deadline_s=20, on_deadline="hold", **fields):
    return ask(agent, "drain", worker, deadline_s=deadline_s, on_deadline=on_deadline, **fields)


def record(work_dir, name="w-1"):
    return json.loads((work_dir / "workers" / f"{name}.json").read_text())


def generation(work_dir, name="w-1"):
    return json.loads((work_dir / "fences" / f"{name}.json").read_text())["generation"]
