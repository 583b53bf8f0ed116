"""The Solana side: the markets program, its codec, and a client for the chain."""
