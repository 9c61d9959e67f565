"""Compare: two targets under the same load, and whether one is worse."""
