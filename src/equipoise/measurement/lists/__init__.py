"""Lists that rankers share: what was shown and clicked, and what rankers earn with each unit."""
