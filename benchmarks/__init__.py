"""The benchmark behind the README's figures: what is timed, beside what, and how the table is made."""
