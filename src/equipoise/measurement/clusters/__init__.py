"""Clusters: who is in which, what is felt within them, what past ones were like."""
