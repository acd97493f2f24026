"""Floor 2: the reversible pipeline from what a person has to what a model takes, and back."""
