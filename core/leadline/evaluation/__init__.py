"""Scores for depth: metrics, alignment, each paper's protocol, data-set readers, tables and reports.

``metrics``, ``boundaries``, ``uncertainty``, ``ordinal`` and ``video`` are pure NumPy functions;
Alignment is in :mod:`leadline.depth.alignment`. ``datasets`` reads, ``runner`` runs, ``report`` and ``compare``
show. What each number means stands in ``metrics.METRICS``, how it is made in ``protocols.PROTOCOLS``.
"""
