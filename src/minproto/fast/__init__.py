"""The cores made faster: an appendix, which nobody has to read to understand a protocol.

Each module here has a subclass of the plain ``Connection`` of the same name. It replaces single methods by ones that give the
same result sooner. Such a method looks only for the common case, and calls ``super()`` on any doubt, each error included; so
it has no rule of its own. Law 13 (``minproto.testing.agreement``) drives both classes in lockstep and compares them after each
call. The shells choose a class by ``minproto.aio.cores``.
"""
