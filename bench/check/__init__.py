"""The regression gate and the history of runs: changes between runs, tested against their noise.

Start reading at `judge.py` for the gate and at `series.py` for the history.
"""
