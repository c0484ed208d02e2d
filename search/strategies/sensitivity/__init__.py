"""What each option hurts alone, and an integer program over it."""
