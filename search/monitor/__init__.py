"""What a run tells those who watch it: events, terminal, history, TensorBoard."""
