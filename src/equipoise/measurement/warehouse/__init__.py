"""Counting where the rows are, through Ibis: the same measurement from PostgreSQL, Spark and other engines."""
