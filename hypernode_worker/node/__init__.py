"""What a worker does. One loop a file; `NodeManager` starts them and ends them.

    NodeManager(chain=NodeChain, store=ContentStore, provider=ContainerProvider, hardware=Hardware, journal=Journal,
                settings=WorkerSettings, clock=SystemClock(), listeners=[...])
        await run()               until stopped; raises ConfigError, TransientError, PermanentError from the start-up
        request_stop(now=False)   first: drain; again, or now=True: give running jobs up. Safe in a signal handler.
        status() -> dict          JSON-ready; what `status` shows (node.status)
    events   typed, in core.events; each listener is called with every event, in order

    dispatcher     gives offers of the job_board to job_handlers, while market_watch and health_handler let it
    settling       sees to it that what finished runs have earned arrives (core.settlement decides)
    reconcile      what chain, journal and containers say is still open, at the start and each minute

Another process talks to a running worker over the Unix socket `<data_dir>/worker.sock`, with node.control_client
(standard library only, so that `status` starts fast):

    call(data_dir, "status") -> dict              the status object
    call(data_dir, "stop", now=False) -> dict     returns once it is stopping; wait_until_gone(data_dir, timeout_s)
    call(data_dir, "jobs") -> dict                {"candidates": [...], "runs": [...]}
    call(data_dir, "take", job="<address>") -> dict
    raises ConfigError when no worker runs there (its message says what to do), PermanentError for a refusal

Importing this package imports nothing else: name the module that you need.
"""
