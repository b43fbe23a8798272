"""A migration played from its beginning to its end, under load, on the platform of this machine.

The platform, the workers and every command are processes, as an operator starts them; of their inside
nothing is known here. What is judged is what clients were answered.
"""
