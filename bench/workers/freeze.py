"""Imported last by the fork server: what is in memory by then stays as it is in every process that is forked from it.

Python's collector would visit these hundreds of thousands of objects again in each of them, and thereby copy the pages
that they lie on: 0.3 s for each full collection, and Keras makes one in every `clear_session`. The manual of
`gc.freeze` has this use of it: https://docs.python.org/3/library/gc.html#gc.freeze
"""

import gc

gc.freeze()
