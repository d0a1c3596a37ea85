"""Providers unlike AssemblyAI, to show that nothing outside tests has to know them.

``at_once`` is sent the audio with the job, and answers with the transcript. ``by_id`` is sent the audio first, has no
list, and is asked by id. Both are plug-ins, and speak HTTP with ``service.Service``.
"""
