"""Readers that refuse well: file, line, what is allowed, what to do.

text: documents of a text file. columns: documents of a column of JSON lines or Parquet. tokenizers: text to
token ids. documents: token sequences of any lengths in one array, and files that hold them.
idx, cifar, arrays: images and numbers, never unpickled.
"""
