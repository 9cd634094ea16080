"""All workloads, in the order in which they run.

Rule: each is a file of its own; a new one is named here, and nowhere else.
"""

from __future__ import annotations

from benchmarks import crowd, delete, fork, growth, listing, micro

WORKLOADS = {each.WORKLOAD.name: each.WORKLOAD for each in (micro, growth, crowd, listing, delete, fork)}
