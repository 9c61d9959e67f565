"""How a call is made: its options, its steps, its attempts, and what performs them."""
