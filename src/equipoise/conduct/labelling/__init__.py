"""People label: what they are asked, which turns, what they said."""
