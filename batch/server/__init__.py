"""The local service: AssemblyAI v2 on this machine, with an on-device speech engine."""
