"""The engine: data, training, objectives, strategies, results, export, the command line."""
