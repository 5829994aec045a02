"""What we count: facts or rows → one row per unit → moments per variant and metric."""
