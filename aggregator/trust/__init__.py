"""Who calls, decided once for each call: ingest and query ask, and are the same for whoever it is.

What a connection has shown (server.py says what it must), what an agent has sent after Hello (token.py, agents.py),
what an operator has put beside a call (operators.py). Whoever is refused is refused before anything is taken in.
"""
