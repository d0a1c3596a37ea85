"""Where something was said in an archive of results: a full-text index of their utterances, and questions to it.

``entries`` is what the index keeps of a result, ``index`` the SQLite file, ``upkeep`` brings it up to date with the
results on disk, ``background`` fills it while a run goes on, ``query`` asks it, ``shown`` is for people.

The index is made of the results and never the other way round: it can be removed at any time.
"""
