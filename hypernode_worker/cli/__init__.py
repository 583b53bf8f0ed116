"""The command line: one file a noun, each command parses, makes one call, prints, and gives an exit code.

    main.py     the app and the entry point
    command.py  what every command has: shared options, errors to sentences, exit codes
    screen.py   stdout for results, stderr for the rest; icons with an ASCII fallback

Exit codes: 0 fine; 1 it failed; 2 usage or configuration; 3 unhealthy (something it needs doesn't answer); 130 Ctrl-C.
Nothing heavy is imported at module level: `--help` and `status` must start fast.
"""
