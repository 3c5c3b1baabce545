"""Do synthetic images give away the radiographs they were learnt from? Arrays come in, measures and limits go out.

Read in the order of the data: `search` (exact nearest neighbours), `films` (radiographs as a space to search).
"""
