"""The rules, pure: no I/O, no clock, no vendor but solders' Pubkey and Signature."""
