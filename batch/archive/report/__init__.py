"""``diarist report``: what happened in a directory of results, as one page that needs no network.

``heard`` reads a result, ``figures`` counts, ``charts`` draws, ``table`` packs rows and transcripts, ``pages`` makes
HTML of it, ``build`` goes through the archive and writes.
"""
