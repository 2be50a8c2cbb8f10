"""The ledger of requirements: what the standards demand, and which parts of minproto obey.

- ``requirements.toml`` is the ledger: one entry for each sentence of a standard that demands something.
- ``ledger.py`` reads it, and describes each key.
- ``examples.py`` runs the bytes of an entry through the core that reads them.
- ``source.py`` finds the lines of a function, and the section numbers that they carry.
- ``pages.py`` writes docs/requirements/ from all of this.

    >>> from minproto.prove.ledger import load
    >>> entry = next(each for each in load() if each.id == "9112-6.1-te-and-cl")
    >>> entry.level, entry.binds, entry.wrong_gives
    ('MUST NOT', ('client', 'server'), '400')

This is a tool: no core and no shell imports it.
"""
