"""Turn a machine with a GPU into a paid node of a marketplace that settles on Solana, or buy that work."""

__version__ = "0.1.0"
