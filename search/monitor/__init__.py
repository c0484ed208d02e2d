"""What a run tells those who watch it: its events, the terminal, the history and TensorBoard."""
