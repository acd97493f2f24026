import torch

torch.set_num_threads(1)  # the tests share a machine, and their models are tiny
