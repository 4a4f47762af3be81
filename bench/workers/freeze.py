"""Freeze of the collector, imported last by the fork server.

Without it, Python's collector would visit hundreds of thousands of imported objects in every forked process, and
thereby copy their pages: 0.3 s for each full collection, and Keras makes one in every `clear_session`. See
https://docs.python.org/3/library/gc.html#gc.freeze
"""

import gc

gc.freeze()
