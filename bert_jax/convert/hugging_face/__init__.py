"""Folders of Hugging Face and sentence-transformers, read and written without their libraries."""
