"""Solana's JSON-RPC over a Bank, without sockets."""
