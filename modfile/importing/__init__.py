"""What brings a model from where it comes from straight into a store: its files' bytes, and what is told of them.

`verbs.importing` puts the parts together.
"""
