"""The reader study: do radiologists take the synthetic films for real, and see in them what was asked for?

    archive + radiograph set -> selecting -> presenting -> arranging -> leaks -> pages       `study make`
    result files -> results -> readings -> realism, labels, review -> scoring -> report      `study score`
    a study -> simulating -> result files, coverage of the intervals                         `study simulate`

A study is a folder:

    STUDY/
      study.json            written last: protocol, trials of every reader, hashes; its own sha256 names the study
      key.json              what is real and what is not, and the readers' tokens: never leaves the publisher
      readers/reader-1.html one self-contained page a reader, with the films inside: this is what is given away

Why two JSON files: study.json names the key's sha256, so that nobody, the publisher included, can change the key once
a page is out; and nothing in a page or in study.json says which film is which.

A result file, saved by the page (`results`): the study's sha256, the reader, an answer a trial with its time, and a
checksum under the reader's token. It holds no film and no truth. Torch-free.
"""
