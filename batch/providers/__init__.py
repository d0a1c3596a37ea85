"""Whoever transcribes: the interface that all of diarist knows, and those who come with it."""

from typing import Final

SERVICES: Final = "auto, local, assemblyai, assemblyai-eu, a plug-in, or a URL"
"""What ``--service`` takes, for help that is shown without loading any of them."""
PROTOCOL: Final = "the AssemblyAI v2 protocol"
"""What the local service speaks."""
