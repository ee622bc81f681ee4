"""Items of the page: every tracked item with its texts, votes, kinds and curves, packed for the browser in the file."""
