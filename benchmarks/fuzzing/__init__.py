"""Files that lie, and what becomes of them.

mutations.py  a sound file's bytes damaged; a file's place taken by something else
crafted.py    files made to do harm: bombs, planted pickles, headers that promise too much
kinds.py      every kind of file that gpunet reads: sound ones, and how they are read
watched.py    a process that reads them, and another that watches its memory and its clock
"""
