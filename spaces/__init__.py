"""What can be decided: decisions, quantizers, searchable blocks, the graph pass, networks."""
