"""The regression gate: a run is held against a baseline, by a rule that knows its noise. Nothing here trains.

Read `judge.py` first.
"""
