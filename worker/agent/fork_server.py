"""Imported by the server that training processes are forked from, before it forks the first one."""

import signal

import worker.agent.child  # noqa: F401 - every fork has it, and torch, already

# A service manager sends SIGTERM to every process of the worker. The server must outlive the forks, whose exit codes it
# reports; it ends when the worker does.
signal.signal(signal.SIGTERM, signal.SIG_IGN)
