"""Redis that the tests do not start from a binary: the one `REDIS_URL` names, or a container where Docker answers.

Rule: nothing here falls back silently. None means "not offered on this machine", and the caller takes the next way.
"""

from __future__ import annotations

import gc
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import redis


@dataclass(frozen=True)
class OutsideRedis:
    """A server that somebody else runs."""

    url: str


def offered_by_environment(line: str) -> OutsideRedis | None:
    """The server at `REDIS_URL`, when it is of this line: "6.2" means exactly that, "7" means 7 or newer."""
    url = os.environ.get("REDIS_URL")
    if not url:
        return None
    with redis.Redis.from_url(url) as client:
        version = str(client.info("server")["redis_version"])
    matches = version.startswith("6.2") if line == "6.2" else int(version.split(".")[0]) >= int(line)
    return OutsideRedis(url) if matches else None


@contextmanager
def offered_by_docker(line: str) -> Iterator[OutsideRedis | None]:
    """A container of this line through testcontainers, when a Docker engine answers."""
    if not docker_answers():
        yield None
        return
    from testcontainers.redis import RedisContainer

    with RedisContainer(f"redis:{line}") as container:
        yield OutsideRedis(f"redis://{container.get_container_host_ip()}:{container.get_exposed_port(6379)}/0")


def docker_answers() -> bool:
    """Whether there is a Docker engine."""
    import docker
    import docker.errors

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # its client leaves a socket behind when nobody answers
        try:
            client = docker.from_env(timeout=5)
            client.ping()
            client.close()
            answers = True
        except (docker.errors.DockerException, OSError):
            answers = False
        gc.collect()
    return answers
