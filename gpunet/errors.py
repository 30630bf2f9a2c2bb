"""The error that a person is meant to read."""


class InputError(ValueError):
    """Something a user gave (a file, an option, a number) cannot be used.

    The message is one sentence that names the thing, says what was wrong with it and what to do.
    The command line prints it without a traceback and exits with status 2.
    """
