"""One line to each node over SSH: where it is, who it is, the agent that is sent there, and what it says."""
