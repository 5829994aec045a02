"""What was known of a unit before treatment, used to see the effect more sharply."""
