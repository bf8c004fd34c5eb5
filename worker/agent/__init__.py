"""The process that claims runs and executes each in a child process."""
