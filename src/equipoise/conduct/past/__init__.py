"""What a plan can learn from before: clusters, time slots and lists as they were."""
