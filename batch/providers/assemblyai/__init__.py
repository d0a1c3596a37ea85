"""The AssemblyAI v2 API."""
