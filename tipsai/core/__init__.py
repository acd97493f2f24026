"""Floor 0: the types, the loop and its step. Imports torch (and NumPy, for its generator) and nothing of the package."""
