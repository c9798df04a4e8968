"""One file a verb; each reads as the recipe."""
