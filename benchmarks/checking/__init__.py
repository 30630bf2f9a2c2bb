"""What gpu_check.py is made of.

limited.py     a command with a limit of time
findings.py    what the parts' results files say
summary.py     the summary to paste into an issue
"""
