"""Talking to models: one port, and behind it an OpenAI-compatible endpoint, recorded answers or a simulated one."""
