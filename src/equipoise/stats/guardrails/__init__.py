"""What a guardrail does by chance: how a window's value varies, and how often so many windows in a row are breached."""
