"""What people teach by: demonstrations and rankings, how well they agree, and the training data that become of them.

`settings.py` says how work is given out, `agreement.py` and `quality.py` measure it, `build.py` writes training data.
Nothing here knows of HTTP (`serve/routes/labelling.py`) or of models; rows are stored by `accordant.store`.
"""
