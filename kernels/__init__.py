"""CUDA kernels, written by hand in Numba. A leaf: nothing here imports the rest of gpunet, or CuPy.

operation                file                      what it fuses
dense_forward            dense_forward.py          gather, scale, product, bias, activation
dense_backward           dense_backward.py         product with W^T, derivative of the activation, dropout
dense_update             dense_update.py           weight and bias gradients of all layers, and the optimizer
                         .._single_row.py          the same for a batch of one row
dense_head               dense_head.py             last layer, loss, its gradient, the hidden layer's gradient
softmax_cross_entropy    softmax_cross_entropy.py  loss, dlogits and hits
binary_cross_entropy     binary_cross_entropy.py   loss, dlogits and hits
squared_error            squared_error.py          loss, dlogits and hits
clip_gradient            clip.py                   norm of all gradients, then their common factor
adam, sgd                optimizers.py             one pass over the flat parameters
per_sample_sgd           per_sample_sgd.py         all steps of an epoch, each on one row
augment                  augment.py                an epoch's images: draws, coordinates, interpolation
shuffle, batch_sums      epoch.py                  an epoch's order of rows; its sums of losses and hits
row_shares               epoch.py                  by what share each row counts in its batch's weighted mean
"""
