"""How much hangs on a choice: curves read otherwise, variants beside their base, and the table of both."""
