"""The loss increase of each option alone, and an integer program over these."""
