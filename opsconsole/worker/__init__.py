"""The inference worker: a process of its own that serves one model over HTTP; it imports nothing of the console's."""
