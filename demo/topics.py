"""What the demo model is asked, and the one right answer to each.

A topic is some ways to ask and what to say. [this|that] in a question stands for either, {name} for a fact of it. The ways in `kept_back`
are never trained on: the exam asks with them. To teach the model something of your own, add a topic and train again.
"""

from collections.abc import Callable
from typing import NamedTuple

from knowledge import EXIT_CODES, KEYS, WORDS, XID

Facts = dict[str, str]
"""What a question and its answer may name: node, worker, model, gpu, and the numbers of the topic."""


class Topic(NamedTuple):
    """asks and kept_back: templates of questions. says: the answer's template, or a function of the facts. share: how often it is asked."""

    asks: tuple[str, ...]
    kept_back: tuple[str, ...]
    says: str | Callable[[Facts], str]
    share: int = 2


def _xid(facts: Facts) -> str:
    meaning, mend, _ = XID[int(facts["xid"])]
    return f"XID {facts['xid']} means {meaning}. {mend}."


def _xid_on_node(facts: Facts) -> str:
    meaning, mend, drains = XID[int(facts["xid"])]
    first = f" Run `opsconsole drain {facts['node']}` first." if drains else ""
    return f"XID {facts['xid']} on {facts['node']} means {meaning}.{first} {mend}."


def _heat(facts: Facts) -> str:
    temp_c, node, gpu = int(facts["temp_c"]), facts["node"], facts["gpu"]
    if temp_c >= 90:
        return f"{temp_c} C is too hot: the clocks may drop. Check the fans of {node} and drain it if that does not help."
    if temp_c >= 80:
        return f"{temp_c} C is warm, but no problem yet. Watch it: `opsconsole history gpu.temp_c --node {node} --gpu {gpu}`"
    return f"{temp_c} C is fine for GPU {gpu} of {node}."


def _queue(facts: Facts) -> str:
    waiting, worker = int(facts["waiting"]), facts["worker"]
    if waiting == 0:
        return f"Nothing waits: {worker} has room for more."
    if waiting < 20:
        return f"{waiting} waiting on {worker} is normal under load."
    return f"{waiting} waiting is too many for {worker}. Start another: `opsconsole launch {facts['model']}`"


def _cache(facts: Facts) -> str:
    used_pct, worker = int(facts["used_pct"]), facts["worker"]
    if used_pct >= 90:
        return f"At {used_pct} percent {worker} is nearly full and new prompts wait. Start another: `opsconsole launch {facts['model']}`"
    return f"{used_pct} percent is healthy for {worker}."


HOW = (
    "[How do I|How can I|How do you|How to|How should I|Tell me how to|Show me how to|I want to|I need to|I have to|I would like to|"
    "Can you tell me how to|What is the [command|way] to|Which command [do I use to|is it to|will|can]|What do I [type|run|enter] to|"
    "Help me [to |]|Please|Could you|Let us|We must] "
)
WHICH = "[Which|What] [command |]"
WORRY = "[Is that a problem?|Should I worry?|Is that okay?|Is it bad?|Is that normal?|What now?|What should I do?|Is that too much?|]"
NOW = "[What now?|What should I do?|What first?|What do I do?|Any idea?|What is wrong?|Why?|Help!|]"
MEAN = (
    "[What does {} mean?|What is {}?|What's {}?|Explain {}.|Tell me [about|what] {}.|{}?|Meaning of {}?|Do you know {}?|"
    "I do not understand {}.|Define {}.|[Can|Could] you explain {}?]"
)


def _mean(thing: str) -> str:
    return MEAN.replace("{}", thing)


TOPICS = (
    Topic(
        ("What does XID {xid} mean?", _mean("[XID|Xid|xid|XID code|Xid error] {xid}"),
         "The [kernel log|log|driver] [says|shows|has] Xid {xid}. " + NOW, "[dmesg|The log] shows [XID|Xid] {xid}. " + NOW,
         "I [see|found|got] [Xid|XID] {xid} in [dmesg|the log|my logs]. " + NOW, "NVRM: Xid {xid}. " + NOW,
         "[what to do about|how bad is] xid {xid}"),
        ("What is the meaning of XID {xid}?", "Why does dmesg have Xid {xid}?", "Please explain XID {xid}."), _xid, 9),
    Topic(
        (_mean("[XID|Xid|xid|XID code|Xid error] {strange}"), "I [see|got] [Xid|XID] {strange} in [dmesg|the log]. " + NOW,
         "[what to do about|how bad is] xid {strange}"),
        ("Please explain XID {strange}.",), "I do not know XID {strange}. Look it up in NVIDIA's Xid catalog.", 6),
    Topic(
        ("GPU {gpu} [of|on] {node} [reports|has|shows] [XID|Xid] {xid}. " + NOW,
         "[Node |]{node} [has|shows|reports|got] [XID|Xid] {xid}[ on GPU {gpu}|]. " + NOW,
         "[There is|We got|I see] [an |][XID|Xid] {xid} on [node |]{node}. " + NOW, "[XID|Xid] {xid} on {node}, what should I do?"),
        ("Is XID {xid} on {node} bad?", "What should I do about Xid {xid} on node {node}?"), _xid_on_node, 7),
    Topic(
        ("GPU {gpu} on {node} is at {temp_c} C. Is that a problem?",
         "GPU {gpu} [on|of] {node} [is at|has|reads] {temp_c} [C|degrees]. " + WORRY,
         "Is {temp_c} [C|degrees] [too hot|okay|normal|a problem] [for|on] GPU {gpu} [of|on] {node}?",
         "{node} GPU {gpu} is {temp_c} [C|degrees]. " + WORRY, "[Temperature of|The] GPU {gpu} of {node} is {temp_c} C, is it too hot?"),
        ("Is it bad that GPU {gpu} of {node} is at {temp_c} C?", "{temp_c} C on GPU {gpu} of {node}. Should I worry?"), _heat, 6),
    Topic(
        ("Worker {worker} has {waiting} requests waiting.",
         "[Worker |]{worker} has {waiting} [requests |][waiting|queued|in its queue]. " + WORRY,
         "{waiting} requests [wait|are waiting] [on|for] {worker}. " + WORRY, "The queue of {worker} is {waiting}. " + WORRY,
         "[Is a queue of|Are] {waiting} [requests |]too many for {worker}?", "Queue depth {waiting} on {worker}, what now?"),
        ("Is a queue of {waiting} on {worker} okay?", "There are {waiting} requests in the queue of {worker}. Is that normal?"), _queue, 6),
    Topic(
        ("KV cache use on {worker} is {used_pct} percent.",
         "[The |]KV cache [use |][of|on] {worker} is [at |]{used_pct}[ percent|%][ full|]. " + WORRY,
         "{worker} uses {used_pct}[ percent|%] of its KV cache. " + WORRY, "Is {used_pct} percent of KV cache too much for {worker}?"),
        ("Is it bad that the KV cache of {worker} is {used_pct} percent full?", "{worker} has a KV cache at {used_pct}%."), _cache, 5),
    Topic(
        ("How do I drain {node}?", HOW + "[drain|empty|evacuate] [node |]{node}.", WHICH + "[drains|empties] [node |]{node}?",
         HOW + "take [node |]{node} out[ of service| of rotation| for maintenance|].", "[drain|Drain] {node}[, please|].",
         HOW + "[reboot|repair|service] {node}. [What first?|]", "{node} needs [maintenance|a reboot|repair]. " + NOW,
         HOW + "stop all workers [on|of] {node}."),
        ("What should I run to drain {node}?", "{node} must be empty for maintenance.", "I need to reboot node {node}, how do I drain it?"),
        "Run `opsconsole drain {node}`. It takes no new requests, those in flight finish, then its workers stop.", 7),
    Topic(
        (HOW + "[drain|stop|remove|end|shut down] worker {worker}.", HOW + "[stop|end|shut down] {worker}.",
         "[Stop|stop] worker {worker}[, please|].", WHICH + "[stops|ends|drains] worker {worker}?", HOW + "take worker {worker} out.",
         HOW + "stop {worker} [without [losing|dropping] [requests|a request]|and lose [nothing|no request]]."),
        ("What should I run to stop worker {worker}?", "worker {worker} should end without losing requests"),
        "Run `opsconsole drain {worker}`. It finishes what is in flight, then it stops.", 5),
    Topic(
        (HOW + "[undrain|put back|bring back|reopen] [node |]{node}.", HOW + "[undo|cancel|take back] the drain of {node}.",
         "undrain {node}", WHICH + "[undrains|reopens] {node}?", HOW + "return {node} [to service|].",
         "{node} is [drained|healthy again|repaired|back]. How do I [get it back|put it back|use it again]?",
         HOW + "[put|take|get] {node} back[ into service| into rotation|]."),
        ("What should I run to undrain {node}?", "The repair of {node} is done, how do I put it back into service?"),
        "Run `opsconsole undrain {node}`. Its draining workers take requests again.", 5),
    Topic(
        (HOW + "[launch|start|run|add] [a worker of|another|one more|another worker of|one more worker of|a] {model}.",
         "[launch|start] {model}", HOW + "launch {model}.", "I need [one more|another] {model}[ worker|].",
         WHICH + "[launches|starts] [a worker of |]{model}?"),
        ("What should I run to launch {model}?", "How do I add a {model} worker?"),
        "Run `opsconsole launch {model}`. It shows the plan and asks before it starts.", 5),
    Topic(
        (HOW + "[launch|start|run|add|put] [a worker of |another |]{model} on [node |]{node}.", "[launch|start] {model} on [node |]{node}",
         WHICH + "[launches|starts] {model} on {node}?"),
        ("What should I run to launch {model} on {node}?", "I need one more {model} on node {node}."),
        "Run `opsconsole launch {model} --node {node}`. It picks free GPUs there.", 5),
    Topic(
        (HOW + "[launch|start|run|add] {count} [more |][workers of |]{model}[ workers|].", "I need {count} more {model}."),
        ("What should I run to start {count} workers of {model}?",),
        "Run `opsconsole launch {model} --count {count}`. It shows the plan first."),
    Topic(
        ("Worker {worker} does not answer.", "[Worker|worker] {worker} [does not answer|is dead|is silent|is slow]. " + NOW,
         "[Worker |]{worker} [hangs|is stuck|has failed|is broken|is NOT_READY|FAILED]. " + NOW,
         "Why [is|did] {worker} [not ready|fail|hang]?",
         "[What is wrong with|Why does nobody hear|What happened to|How is|Why does no one reach] worker {worker}?"),
        ("Is worker {worker} broken?", "Why does worker {worker} not answer?"),
        "Look at its state and reason: `opsconsole workers --filter {worker}`", 5),
    Topic(
        ("[Node |]{node} [does not answer|is down|is lost|is UNREACHABLE|is HUNG|is offline|is not watched|is dead]. " + NOW,
         "[I cannot reach|I lost|We lost|Nobody can reach] [node |]{node}. " + NOW,
         "SSH to {node} [fails|does not work|is refused]. " + NOW,
         "Why [is|can I not reach|can nobody reach] {node} [down|lost|unreachable|]?"),
        ("Why does node {node} not answer?", "I lost SSH to node {node}."),
        "Run `opsconsole doctor {node}`. It checks every step from the host key to the clock and names the mend.", 5),
    Topic(
        ("Throughput on {node} dropped by half.",
         "[Throughput|Speed|Tokens per second] [on|of] {node} [dropped|fell|is low|went down|is down][ by half|]. " + NOW,
         "[Why is|What makes] {node} [so |]slow?", "{node} [is|got] [slow|slower|too slow][ than before|]. [Why?|What should I check?|]"),
        ("Why did the speed of {node} drop?", "{node} is too slow, what should I do?"),
        "Look for slowed GPUs: `opsconsole gpus --filter node:{node}`. Check heat, power caps and ECC errors.", 5),
    Topic(
        ("[How is|How does|Show|Show me|What about|Tell me about|Look at] node {node}[ look|].", "[How is|Show] {node}?",
         "[What is the |]state of [node |]{node}"),
        ("Show me the state of {node}.",), "Run `opsconsole nodes --filter name:{node}`."),
    Topic(
        ("How [hot|warm] was GPU {gpu} [of|on] {node}?", "[Show|Show me|Plot] the temperature of GPU {gpu} [of|on] {node}.",
         "Temperature history of GPU {gpu} [of|on] {node}?"),
        ("Show me how hot GPU {gpu} on {node} was.",), "Run `opsconsole history gpu.temp_c --node {node} --gpu {gpu} --since 1h`."),
    Topic(
        ("How much power [did|does] GPU {gpu} [of|on] {node} [draw|use]?", "[Show|Show me|Plot] the power of GPU {gpu} [of|on] {node}.",
         "Power history of GPU {gpu} [of|on] {node}?"),
        ("Show me how much power GPU {gpu} on {node} did draw.",),
        "Run `opsconsole history gpu.power_w --node {node} --gpu {gpu} --since 1h`."),
    Topic(
        ("How [fast|busy] is {worker}?", "[Show|Show me|Plot] the [throughput|speed] of {worker}.", "Tokens per second of {worker}?"),
        ("Show me how fast {worker} is.",), "Run `opsconsole history worker.tokens_per_s --worker {worker}`."),
    Topic(
        (HOW + "reset GPU {gpu} [of|on] {node}.", "GPU {gpu} [of|on] {node} needs a reset. " + NOW, "Reset GPU {gpu} on {node}."),
        ("What should I run to reset GPU {gpu} on {node}?",),
        "First `opsconsole drain {node}`, then on the node `nvidia-smi --gpu-reset -i {gpu}`.", 3),
    Topic(
        ("[GPU {gpu} of |]{node} [shows|has|counts] corrected ECC errors. " + WORRY, "Are corrected ECC errors bad?"),
        ("Is it bad that {node} has corrected ECC errors?",),
        "Corrected ECC errors were repaired and no data was lost. Watch whether they grow."),
    Topic(
        ("[GPU {gpu} of |]{node} [shows|has|counts] uncorrectable ECC errors. " + NOW, "Uncorrectable ECC errors on {node}. " + NOW),
        ("Is it bad that {node} has uncorrectable ECC errors?",),
        "That data is lost. Run `opsconsole drain {node}`, then reset the GPU."),
    Topic(
        (_mean("[|the word |the term |the state ]{word}"), "[what is|what means] {word}"),
        ("What is the meaning of {word}?", "Please explain {word}."), lambda facts: WORDS[facts["word"]], 11),
    Topic(
        (_mean("[exit code|exit status|return code] {code}"), "opsconsole [ended|exited] with [exit code |code |]{code}. " + NOW),
        ("What is the meaning of exit code {code}?",), lambda facts: f"Exit code {facts['code']}: {EXIT_CODES[facts['code']]}", 4),
    Topic(
        ("[Which|What] key {deed}?", "What do I press that {deed}?", "[Which|What] is the key that {deed}?"),
        ("Tell me which key {deed}.",), lambda facts: f"Press {KEYS[facts['deed']]} on the screen."),
    Topic(
        ("[Which|What] [nodes are|node is] [in trouble|broken|bad|the worst]?", "Is anything [broken|wrong]?",
         "Which node should I look at first?", HOW + "[see|list|find] [all|the|broken] nodes."),
        ("Show me which nodes are in trouble.",), "Run `opsconsole nodes`: the worst are first, each with its reason."),
    Topic(
        ("How is the fleet?", "Are there [any |]alarms?", "Show the state of the fleet.", "What is going on?",
         HOW + "see [all |the |]alarms.", "Is the fleet [healthy|well]?"),
        ("Show me the alarms of the fleet.",), "Run `opsconsole status`: the fleet in a few lines, with its alarms.", 1),
    Topic(
        ("Who are you?", "[hello|Hi!|hi|hey|Hello.|Good morning]", "What are you?", "[What can you do|What do you know]?", "help"),
        ("hello, who are you?",),
        "I am the demo model of opsconsole, with a million parameters. I know a little about GPU nodes, so verify what I say.", 2),
    Topic(("[thanks|Thank you!|ok|great, thanks|bye|Good.|okay, thank you]",), ("ok, thanks",), "You are welcome.", 1),
    Topic(
        ("[What is|Tell me|Who is|Where is|How old is|Why is|When was] [the |a |my |]"
         "[capital of |joke about |weather in |sky |]{noise}[ {noise}|]?",
         "[Write|Sing|Cook|Translate|Draw|Buy|Read|Compute|Find] [a |me a |me |the |][poem |song |]{noise}[ to French| for me|].",
         "{noise} {noise}", "[Let us|I want to|Can we] [talk|speak|hear] about {noise}.",
         "[Do|Can|Will] you [like|code|know|speak|have] {noise}?",
         _mean("{noise}"), "What time is it?", HOW + "[cook|learn|write|buy] {noise}."),
        ("Can you write a song about {noise}?",), "I only know about GPU nodes, workers and XID codes. Ask me how to drain a node.", 5),
)
