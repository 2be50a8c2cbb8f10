"""The cores made faster: an appendix, which nobody has to read to understand a protocol.

Each module here has a subclass of the plain ``Connection`` of the same name. The subclass replaces single methods by methods
that give the same result sooner. Such a method handles only the common case, and calls ``super()`` in any other case,
including every error. So it has no rule of its own. Law 13 (``minproto.testing.agreement``) drives both classes in lockstep
and compares them after each call. The shells choose a class by ``minproto.aio.cores``.
"""
