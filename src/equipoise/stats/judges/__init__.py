"""A judge is an instrument: its errors, its leanings, and how labels correct them."""
