"""Sensitivity to choices: curves read otherwise, variants beside their base, and the table of both."""
