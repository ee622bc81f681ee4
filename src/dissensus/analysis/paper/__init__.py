"""The paper's tables (arXiv 2604.16332) from finished cells, in its layout (docs/paper-tables.md)."""
