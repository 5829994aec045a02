"""How many units it takes, and what so many units can find."""
