"""What bench_kernels.py times: single operations of a training step.

case.py                  what a case is: inputs, the same operation on each contender, what must come out
layers.py, parameters.py the cases of layers and losses, and of optimizers
cases.py                 all of them
bounds.py                how far a result may be off
in_cupy.py               the operations as a user of CuPy would write them
figure.py                the figure
"""
