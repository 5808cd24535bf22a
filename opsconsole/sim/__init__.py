"""Fleets that are not there: seeded nodes on a clock that moves only when told, and the demo's nodes behind real SSH servers."""
