"""Which Pythons LangGraph's server runs on."""

import sys

import pytest

needs_server = [
    pytest.mark.peers,
    pytest.mark.skipif(sys.version_info < (3, 11), reason="LangGraph's server needs Python 3.11 or newer"),
]
