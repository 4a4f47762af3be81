"""Pools for tests and simulations, which train nothing: `fake` computes accuracies, `replay` has recorded ones."""

from bench.testing.fake import SEED_NOISE, Build, FakePool, Score

__all__ = ["SEED_NOISE", "Build", "FakePool", "Score"]
