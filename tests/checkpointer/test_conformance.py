"""LangGraph's own suite for checkpointers, with every capability, through both forms."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable

import pytest
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.conformance import checkpointer_test, validate
from langgraph.checkpoint.conformance.capabilities import Capability
from support.savers import BACKENDS, ThroughSync

from langgraph_sessionstore import Backend
from langgraph_sessionstore.adapters.checkpointer import SessionCheckpointer


@pytest.mark.parametrize("kind", [*BACKENDS, "redis62"], indirect=True)
@pytest.mark.parametrize("form", [SessionCheckpointer, ThroughSync], ids=["async", "sync"])
def test_official_suite(form: type[SessionCheckpointer], kind: str, storage: Callable[[], Backend]) -> None:
    async def made() -> AsyncGenerator[BaseCheckpointSaver[str], None]:
        backend = storage()
        yield form(backend)
        if kind != "memory":
            await backend.aclose()

    report = asyncio.run(validate(checkpointer_test(name=f"{form.__name__} on {kind}")(made)))
    results = report.results
    assert set(results) == {capability.value for capability in Capability}
    assert [failure for result in results.values() for failure in result.failures] == []
    assert all(result.detected and result.passed and result.tests_passed for result in results.values())
    assert report.passed_all()
