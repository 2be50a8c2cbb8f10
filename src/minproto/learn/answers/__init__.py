"""The reference answers: each passes its exercise, and says what is expected of yours. Look only when you are done."""
