"""The process that owns the links, the history and the runs, and the one way in for every front."""
