"""vec2text in a process of its own: `worker.py`, which imports nothing of segue, so that any Python with it will do."""
