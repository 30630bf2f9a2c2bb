"""What bench_population.py times: many networks side by side, by gpunet and by what a user would pick instead.

problem.py                 the network, its data, and when losses agree
contenders.py              who can run here
in_torch.py, in_jax.py     the peers
figure.py                  the figure
"""
