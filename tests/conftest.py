"""The storages that tests run on. Servers are started once for a run, and only when a test asks for them."""
