"""The stubs to begin with: ``minproto learn http1/3 --stub > my_parser.py``."""
