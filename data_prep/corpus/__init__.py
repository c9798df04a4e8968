"""Find text, cut it into parts, and read it as documents and sentences."""
