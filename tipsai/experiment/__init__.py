"""Tools that plan runs, or train several models."""
