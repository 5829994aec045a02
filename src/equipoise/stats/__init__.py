"""The mathematics: pure functions of numbers. No input, no output, no clock, no global chance."""
