"""The door for code: ask a router for a unit's variant, say when it was served, say what became of it."""
