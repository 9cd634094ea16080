"""Real Redis servers and a fault-injecting proxy for the tests; nothing in here imitates a server."""
