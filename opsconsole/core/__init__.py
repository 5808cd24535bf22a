"""The pure core: the fleet as values and what should be done about it; no clock, file, network, thread, random or log."""
