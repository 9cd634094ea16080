"""The real servers of the tests, under one name: a single server, a cluster, a sentinel group.

Rule: tests import servers from here; what each of them does is said in its own file.
"""

from tests.support.cluster import RedisCluster
from tests.support.process import ServerStartError
from tests.support.sentinel import SentinelGroup
from tests.support.single import RedisServer

__all__ = ["RedisCluster", "RedisServer", "SentinelGroup", "ServerStartError"]
