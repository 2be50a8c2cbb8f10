"""ASGI apps in the manner of their frameworks' tutorials. Nothing in them knows minproto."""
