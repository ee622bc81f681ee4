"""Studies: what a study is. Its grid, its folder, the status of its cells, its lock, and the built-in ones."""
