"""The program that runs on a node: sent over SSH as one zip, run by the node's own python3 (3.9 or newer), never installed there."""

AGENT_VERSION = "0.1.0"
