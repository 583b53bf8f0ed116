"""What `make bench` measures. Nothing here is a test: a slow machine gets slow numbers, not a failure."""
