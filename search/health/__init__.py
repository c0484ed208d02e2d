"""Whether what a run measured on its way is as it should be, and where it is not, the likely cause and what to set."""
