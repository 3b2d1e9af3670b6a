"""File readers with precise error messages: file, line, what is allowed, what to do.

shards: the files of a corpus, and their forms. text: what a file is, and documents of a text file. columns: documents
of a column of JSON, CSV, Parquet or Arrow. tokenizers: text to token ids and back. corpus: all of these. documents:
token sequences of any lengths in one array, and vocabularies; token_files, spill: files that hold them. images, arrays:
images and numbers, never unpickled. The others read and write the files of genomics: bases, regions, fragments,
signals, atlases, motifs, variants.
"""
