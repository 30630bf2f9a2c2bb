"""What bench_train.py times: one network, each contender in a process of its own.

task.py                    an experiment and its data, trained by gpunet
contenders/                gpunet and its peers
process.py, worker.py      the two ends of a contender's process
agreement.py               when losses agree
figure.py                  the figure
"""
