"""The chaos suite: a workload, faults of every kind, and a checker that knows from the database what each client
is owed.

`run.py` is the whole of it in one page. Nothing here looks into rowcast: it writes with SQL, listens through
WebSockets, and hurts processes and connections from outside.
"""
