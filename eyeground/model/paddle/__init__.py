"""PaddlePaddle: classifiers that are ViTs of ours. Imported only in a process of its own."""
