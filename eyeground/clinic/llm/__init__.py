"""Narratives drafted by a language model that sees nothing but placeholders, and is not believed."""
