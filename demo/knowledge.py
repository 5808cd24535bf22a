"""What the demo model is taught as fact: NVIDIA's driver errors, the words on the screen, exit codes and keys."""

_IN_THE_APPLICATION = "Usually the application did it: restart it, and run it under Compute Sanitizer if it comes back"
_IN_THE_GSP = "Reset the GPU, and power cycle the node if it comes back"

XID = {
    13: ("a graphics engine exception, such as an access out of bounds", _IN_THE_APPLICATION, False),
    31: ("a GPU memory page fault: the MMU met an illegal address", _IN_THE_APPLICATION, False),
    43: ("that the GPU stopped processing for an application that failed", "The GPU is healthy: restart the worker", False),
    45: ("preemptive cleanup: an application was aborted", "Look for another XID before it", False),
    48: ("a double bit ECC error, which cannot be corrected", "The GPU needs a reset", True),
    62: ("that an internal microcontroller of the GPU halted", "The GPU needs a reset", True),
    63: ("that a bad row of memory will be remapped", "Work can go on; reset the GPU at a quiet hour", False),
    64: ("that remapping a bad row of memory failed", "Reset the GPU, and call your vendor if it comes back", True),
    74: ("an NVLink error, of the link or of its other end", "Look at `nvidia-smi nvlink -e` and reset the GPU", True),
    79: ("that the GPU has fallen off the bus: PCIe cannot reach it", "Power cycle the node and check the PCIe link", True),
    92: ("a high rate of single bit ECC errors, all corrected", "Watch it, and call your vendor if it stays", False),
    94: ("a contained memory error: one application is hit", "Restart that worker, and reset the GPU when convenient", False),
    95: ("an uncontained memory error: several applications are hit", "Reset the GPU before they start again", True),
    119: ("that the GPU's system processor (GSP) did not answer in time", _IN_THE_GSP, True),
    120: ("an error of the GPU's system processor (GSP)", _IN_THE_GSP, True),
}
"""Code: (meaning, what to do, whether its workers must leave the node first). From NVIDIA's Xid catalog for Ampere and later:
https://docs.nvidia.com/deploy/xid-errors/analyzing-xid-catalog.html"""
XID_LARGEST = 172
"""The largest code in that catalog."""

WORDS = {
    "TTFT": "TTFT is the time to first token: from the request to the first token of its answer.",
    "ITL": "ITL is the inter-token latency: the time between two tokens of an answer.",
    "KV cache": "The KV cache holds keys and values of past tokens, so that they are not computed again. When it is full, prompts wait.",
    "drain": "To drain is to take no new requests, finish those in flight, and then stop.",
    "undrain": "To undrain is to let draining workers take requests again.",
    "LIVE": "LIVE: the node's last sample is younger than three seconds.",
    "STALE": "STALE: nothing came from the node for three seconds; it is not yet known why.",
    "HUNG": "HUNG: the node accepts connections, but its agent is silent.",
    "UNREACHABLE": "UNREACHABLE: the node does not accept connections. Run `opsconsole doctor`.",
    "AUTH_FAILED": "AUTH_FAILED: the node refuses our SSH key.",
    "HOST_KEY_CHANGED": "HOST_KEY_CHANGED: the node shows another host key than known_hosts has; nothing is sent to it.",
    "HOST_KEY_UNKNOWN": "HOST_KEY_UNKNOWN: known_hosts has no key of the node.",
    "NO_DRIVER": "NO_DRIVER: the node answers, but no GPU can be asked.",
    "NO_PYTHON": "NO_PYTHON: the node has no Python 3.9 or newer.",
    "CONNECTING": "CONNECTING: no answer came yet, and none is overdue.",
    "READY": "READY: the worker takes requests.",
    "NOT_READY": "NOT_READY: the worker runs but takes no requests now.",
    "DRAINING": "DRAINING: the worker takes no new requests and finishes those in flight.",
    "FAILED": "FAILED: the worker ended with an error; its reason says why.",
    "NVLink": "NVLink joins GPUs directly, faster than PCIe. `nvidia-smi nvlink -s` shows the links.",
    "ECC": "ECC finds and corrects errors in GPU memory: single bit errors are corrected, double bit errors are not.",
    "row remapping": "Row remapping replaces a bad row of GPU memory with a spare one, at the next GPU reset.",
    "power cap": "A software power cap lowers the clocks so that the GPU stays within its power limit. That is normal under load.",
    "HW slowdown": "HW slowdown: the hardware cut the clocks by half or more, for heat or power.",
    "HW thermal slowdown": "HW thermal slowdown: the GPU is too hot and the hardware cut its clocks by half or more.",
    "SW thermal slowdown": "SW thermal slowdown: the driver lowers the clocks to keep GPU and memory below their maximum temperature.",
    "power brake": "A power brake comes from outside, as from the power supply: the hardware cuts the clocks by half or more.",
    "MIG": "MIG splits one GPU into several, each with memory and compute of its own.",
    "Xid": "An Xid is an error report of the NVIDIA driver in the kernel log.",
}
"""Words of the screen as README says them; clock limits as nvml.h says them."""

EXIT_CODES = {
    "0": "everything asked for was done.",
    "1": "it was tried and did not succeed.",
    "2": "the command line or the fleet file is wrong; nothing was tried.",
    "3": "some nodes could not be reached.",
    "4": "a guard refused; nothing was sent to any node.",
    "5": "the deadline passed with requests in flight; the worker goes on draining.",
    "6": "somebody else is at work there, or the collector serves another fleet file.",
    "130": "it was interrupted with Ctrl-C; what was under way goes on.",
}

KEYS = {
    "drains": "D", "launches a worker": "L", "filters": "/", "shows all keys": "?", "goes to the next alarm": "n", "quits": "q",
    "sorts": "o", "shows the workers": "3", "marks a row": "space", "changes the metric": "m", "goes back": "Esc",
}
