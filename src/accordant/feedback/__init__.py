"""What users say of answers, as training rows: ideal answers, thumbs that make a pair, choices, faults of the filter.

It is stored by `accordant.store.feedback` and collected by `serve/routes/feedback.py`; data are built by
`accordant.labelling.build`.
"""
