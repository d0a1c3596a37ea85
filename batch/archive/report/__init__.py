"""``diarist report``: what happened in a directory of results, as one page that needs no network.

``recording_details`` reads a result, ``statistics`` counts, ``charts`` draws, ``rows`` packs rows and transcripts,
``page`` makes HTML of it, ``build`` goes through the archive and writes.
"""
