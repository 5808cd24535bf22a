"""The front door that holds the queue: requests wait here, not inside the workers, so a worker can leave without losing any."""
