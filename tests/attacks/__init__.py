"""Attacks on a running daemon and mirror, and what they do to everybody else.

`ATTACKS` in `table.py` lists them; to add one, write a function that takes a `Target` and attacks it until
`target.is_over()`, and a row. `scripts/attack` prints the figures; `test_table.py` holds them to bounds that leave room
for a busy machine.
"""
