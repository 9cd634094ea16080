"""All workloads, in the order in which they run.

Rule: each is a file of its own; a new one is named here, and nowhere else.
"""

from __future__ import annotations

from benchmarks import crowd, delete, fork, growth, histories, listing, micro, sessions, stores

ALL = micro, growth, crowd, listing, delete, fork, stores, histories, sessions
WORKLOADS = {each.WORKLOAD.name: each.WORKLOAD for each in ALL}
