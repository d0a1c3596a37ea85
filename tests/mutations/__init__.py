"""Mutations: small slips that break a promise, each with the test that notices it. ``python -m tests.mutations``."""
