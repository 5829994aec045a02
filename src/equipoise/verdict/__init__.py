"""What we do: the rule, its evidence, and the report."""
