"""The regression gate and the history: what changed between runs, by a rule that knows its noise. Nothing here trains.

Read `judge.py` first for the gate, `series.py` for the history.
"""
