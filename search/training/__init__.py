"""Training: phases, the loop, optimizers, checkpoints."""
