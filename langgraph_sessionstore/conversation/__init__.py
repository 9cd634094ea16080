"""Conversations: a model, an agent or a graph that talks on a session.

conversation  what a user holds: run, stream, json
turn          one turn: what is read before it, and what becomes of it
speaking      a turn of a model, or of anything that takes messages and gives one
graphing      a turn of a graph, or of an agent with tools
agents        how an agent is built for a turn
answers       what models answer, in one piece and in many, as text and as data
spending      what a turn has used
models        what may be given as a model
"""

from .conversation import Conversation

__all__ = ["Conversation"]
