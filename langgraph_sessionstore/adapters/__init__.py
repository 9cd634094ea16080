"""Adapters: what LangGraph and LangChain call, as thin facades over the plans."""
