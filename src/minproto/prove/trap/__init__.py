"""``minproto trap``: is that client right? A server that behaves in one odd way for each path, and watches what a client does.

- ``snare.py`` is one odd way: what the server sends, and what a right client does then. ``snares/`` has all of them.
- ``watch.py`` reads what a client sends, as words.
- ``server.py`` plays a snare to whoever asks for its path.
- ``hunt.py`` runs a command on each path, and judges it.
- ``ours.py`` is a program with our own clients, for such a command.
- ``report.py`` prints, and ``command.py`` has the options.
- ``matrix.py`` finds which snare catches which mutant, ``table.py`` makes the table of real clients in docs/trap.md.
"""
