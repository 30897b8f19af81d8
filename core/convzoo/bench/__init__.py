"""Which variant to take, on this hardware, at this batch size and precision: speed, memory and start, with intervals.

``cells`` makes what is to be measured of names and settings, ``competitors`` builds the two of a cell and shows that
they do the same work, ``engines`` run them, ``sampling`` times them in pairs while ``watch`` looks who else is there,
``worker`` does one cell in a process of its own, ``run`` does all of them, and ``results`` is the file that they go to.
"""
