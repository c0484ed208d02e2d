"""A Program as C99 that computes the same integers: no dynamic memory, no library, nothing but the standard headers."""
