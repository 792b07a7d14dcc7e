"""OpenAI's API, as its reference documents it: fields, what they become for the engine, and the shapes that go back.

`fields.py` refuses, `chat.py` and `completion.py` list every documented field of a request (honoured or refused, none
ignored), `answers.py` and `chunks.py` are what is sent. The routes that use them are in `serve/routes/`.
"""
