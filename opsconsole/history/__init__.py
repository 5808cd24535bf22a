"""What the fleet was: every second of every series in one SQLite file, written by one thread and read by anybody."""
