"""Golden cases: few, clustered, tried more than once."""
