"""The cold log: what was sealed from the hot table into Parquet segments, and how it is looked after."""
