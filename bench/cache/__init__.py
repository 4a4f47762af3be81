"""The user's cache, shared by all runs: decoded pictures, features and downloads."""

from bench.cache.directory import clear, entries, folder

__all__ = ["clear", "entries", "folder"]
