"""The front: sockets, queues, workers' lives."""
