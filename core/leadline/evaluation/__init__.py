"""Scores for depth: metrics, alignment, each paper's protocol, data-set readers, tables and reports.

``metrics``, ``alignment``, ``boundaries``, ``uncertainty``, ``ordinal`` and ``video`` are pure NumPy functions;
``metrics_torch`` is the batched twin of ``metrics``. ``datasets`` reads, ``runner`` runs, ``report`` and ``compare``
show. What each number means stands in ``metrics.METRICS``, how it is made in ``protocols.PROTOCOLS``.
"""
