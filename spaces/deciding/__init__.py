"""From a Space with open decisions to the smaller network that is decided."""
