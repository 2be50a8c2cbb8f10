"""Reference answer to http2/4: a window that never deadlocks.

credit + held + owed is the size, after each call. So a credit of 0 with nothing owed means that the app holds all bytes. Then
it is the app's turn, so there is no deadlock.
"""


class ReceiveWindow:
    """The credit that a receiver gives to a sender."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.credit = size
        self.held = 0
        self.owed = 0

    def received(self, n: int) -> int:
        """Take n bytes. Return the number to give back now."""
        if n > self.credit:
            raise ValueError("more than the credit")
        self.credit -= n
        self.held += n
        return self._give_back()

    def consumed(self, n: int) -> int:
        """Let the app consume n bytes. Return the number to give back now."""
        if n > self.held:
            raise ValueError("more than there is")
        self.held -= n
        self.owed += n
        return self._give_back()

    def _give_back(self) -> int:
        if 2 * self.owed < self.size and self.credit:
            return 0
        given, self.owed = self.owed, 0
        self.credit += given
        return given
