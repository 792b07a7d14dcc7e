"""What must not be lost: accounts, conversations, verdicts, settings, and who did what, in one SQL database.

`database.py` opens it, `schema.py` says what is in it, `migrations/` how it came about; then one module per entity,
whose functions take an open session. SQLite in the workspace by default, PostgreSQL by URL. Imports the base modules.
"""
