"""The record of a run as one HTML page that needs nothing but itself.

``draw`` makes the pages, ``layout`` and ``comparison`` choose what is on them, ``charts`` draws,
``svg`` makes a drawing part of a page, ``figures`` writes numbers so that each can be traced to the
record, and ``check`` traces them. Nothing is computed here that the record does not hold.
"""
