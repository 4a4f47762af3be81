"""Families over the runs of a folder, and where they changed by more than noise. Nothing here trains.

Read `series.py` first.
"""
