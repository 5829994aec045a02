"""What guardrails count: facts → minutes → windows, and what windows are like by chance."""
