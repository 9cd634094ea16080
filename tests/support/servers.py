"""The real servers of the tests, under one name: a single server, a cluster, a sentinel group.

Rule: tests import servers from here; what each of them does is said in its own file.
"""

from support.cluster import RedisCluster
from support.process import ServerStartError
from support.sentinel import SentinelGroup
from support.single import RedisServer, with_modules

__all__ = ["RedisCluster", "RedisServer", "SentinelGroup", "ServerStartError", "with_modules"]
