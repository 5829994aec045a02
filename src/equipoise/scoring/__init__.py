"""What is good: from a text to a score, by rules, safety checks and judges."""
