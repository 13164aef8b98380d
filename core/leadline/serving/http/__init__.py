"""HTTP beside ZeroMQ: a process of its own that passes requests on to the server's front."""
