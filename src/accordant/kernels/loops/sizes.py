"""What the loops and those who call them must agree on."""

BLOCK = 64
"""Numbers that a line of scores is made up to, so that its sum has one order whatever its length, and no number is left
over to be taken by itself."""

OUTPUTS = 32
"""Of a tile of a product: two registers of sums. With its at most 12 rows they are 24 of the 32 that there are."""
